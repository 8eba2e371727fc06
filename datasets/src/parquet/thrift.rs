//! A walk over Thrift's compact protocol that allocates nothing.
//!
//! The parquet crate reserves memory for a list before it reads the list, so that a footer of a hundred bytes can
//! claim two thousand million row groups and abort the process. This walk sees every count first.
//!
//! Nesting of unknown fields is bounded; every count is bounded by the bytes that are left.

/// Deepest nesting that is followed; Parquet's own structures need 6.
const MAX_DEPTH: usize = 32;

/// What the bytes are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// They end in the middle of a value.
    Short,
    /// They are no Thrift.
    Malformed,
    /// A list claims more elements than bytes are left.
    ListTooLong,
    /// Values nest deeper than any that is known.
    TooDeep,
}

/// Types of the compact protocol, by their code in field headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Byte,
    Varint,
    Double,
    Binary,
    List,
    Map,
    Struct,
}

impl Kind {
    fn of(code: u8) -> Result<Self, Fault> {
        Ok(match code {
            1 | 2 => Self::Boolean,
            3 => Self::Byte,
            4..=6 => Self::Varint,
            7 => Self::Double,
            8 => Self::Binary,
            9 | 10 => Self::List,
            11 => Self::Map,
            12 => Self::Struct,
            _ => return Err(Fault::Malformed),
        })
    }
}

/// A place in the bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk<'a> {
    bytes: &'a [u8],
}

impl<'a> Walk<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Returns the number of bytes that are left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len()
    }

    /// Walks the fields of a struct; `visit` gets id and kind, and says whether it consumed the value.
    ///
    /// A boolean has no value after its header: its visit comes right after the byte that holds it.
    pub(super) fn fields(&mut self, mut visit: impl FnMut(&mut Self, i16, Kind) -> Result<bool, Fault>) -> Result<(), Fault> {
        let mut id = 0i16;
        loop {
            let header = self.byte()?;
            if header == 0 {
                return Ok(());
            }
            let (delta, code) = (header >> 4, header & 0x0f);
            id = match delta {
                0 => i16::try_from(self.integer()?).map_err(|_| Fault::Malformed)?,
                delta => id.checked_add(i16::from(delta)).ok_or(Fault::Malformed)?,
            };
            let kind = Kind::of(code)?;
            if !visit(self, id, kind)? {
                // In a field, the value of a boolean is its code.
                if kind != Kind::Boolean {
                    self.skip(kind, 0)?;
                }
            }
        }
    }

    /// Reads the header of a list: number and kind of its elements.
    pub(super) fn list(&mut self) -> Result<(usize, Kind), Fault> {
        let header = self.byte()?;
        let n = match header >> 4 {
            15 => usize::try_from(self.varint()?).map_err(|_| Fault::ListTooLong)?,
            n => usize::from(n),
        };
        // An element takes at least one byte.
        if n > self.bytes.len() {
            return Err(Fault::ListTooLong);
        }
        // Elements of an empty list may have no kind.
        let kind = if n == 0 { Kind::Byte } else { Kind::of(header & 0x0f)? };
        Ok((n, kind))
    }

    /// Reads a whole number.
    pub(super) fn integer(&mut self) -> Result<i64, Fault> {
        let raw = self.varint()?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    /// Passes over a value.
    pub(super) fn skip(&mut self, kind: Kind, depth: usize) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::TooDeep);
        }
        match kind {
            Kind::Boolean | Kind::Byte => self.pass(1),
            Kind::Varint => self.varint().map(|_| ()),
            Kind::Double => self.pass(8),
            Kind::Binary => {
                let n = self.varint()?;
                self.pass(usize::try_from(n).map_err(|_| Fault::Short)?)
            }
            Kind::List => {
                let (n, kind) = self.list()?;
                (0..n).try_for_each(|_| self.skip(kind, depth + 1))
            }
            Kind::Map => self.skip_map(depth),
            Kind::Struct => self.skip_struct(depth),
        }
    }

    fn skip_map(&mut self, depth: usize) -> Result<(), Fault> {
        let n = usize::try_from(self.varint()?).map_err(|_| Fault::ListTooLong)?;
        if n == 0 {
            return Ok(());
        }
        if n > self.bytes.len() {
            return Err(Fault::ListTooLong);
        }
        let kinds = self.byte()?;
        let (key, value) = (Kind::of(kinds >> 4)?, Kind::of(kinds & 0x0f)?);
        for _ in 0..n {
            self.skip(key, depth + 1)?;
            self.skip(value, depth + 1)?;
        }
        Ok(())
    }

    fn skip_struct(&mut self, depth: usize) -> Result<(), Fault> {
        loop {
            let header = self.byte()?;
            if header == 0 {
                return Ok(());
            }
            if header >> 4 == 0 {
                self.varint()?;
            }
            match Kind::of(header & 0x0f)? {
                Kind::Boolean => {}
                kind => self.skip(kind, depth + 1)?,
            }
        }
    }

    fn pass(&mut self, n: usize) -> Result<(), Fault> {
        self.bytes = self.bytes.get(n..).ok_or(Fault::Short)?;
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        let (first, rest) = self.bytes.split_first().ok_or(Fault::Short)?;
        self.bytes = rest;
        Ok(*first)
    }

    fn varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Fault::Malformed)
    }
}
