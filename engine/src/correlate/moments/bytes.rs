//! The state as bytes: version, then little-endian numbers.

use super::{ColumnMoments, Compared, Moments, Pairs};
use crate::EngineError;
use crate::correlate::pair::{Frame, PairMoments};

const VERSION: u8 = 1;
const DENSE: u8 = 0;
const PAIRWISE: u8 = 1;

pub(super) fn write(state: &Moments) -> Vec<u8> {
    let mut out = vec![VERSION];
    let first = match state.compared {
        Compared::All => u64::MAX,
        Compared::FirstWithRest(first) => first as u64,
    };
    for number in [state.n_rows, state.columns.len() as u64, first] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for column in &state.columns {
        out.extend_from_slice(&column.n.to_le_bytes());
        out.push(u8::from(column.frame.known) | u8::from(column.two_valued) << 1);
        out.extend_from_slice(&column.frame.unit.to_le_bytes());
        for number in [column.frame.centre, column.mean, column.m2, column.min, column.max] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
    match &state.pairs {
        Pairs::Dense(co) => {
            out.push(DENSE);
            for number in co {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        Pairs::Pairwise(pairs) => {
            out.push(PAIRWISE);
            for pair in pairs {
                out.extend_from_slice(&pair.n.to_le_bytes());
                for number in [pair.mean_x, pair.mean_y, pair.m2_x, pair.m2_y, pair.co] {
                    out.extend_from_slice(&number.to_le_bytes());
                }
            }
        }
    }
    out
}

pub(super) fn read(bytes: &[u8]) -> Result<Moments, EngineError> {
    let mut rest = Reader { rest: bytes };
    let version = rest.byte()?;
    if version != VERSION {
        return Err(EngineError::Partial(format!("version {version}, but this gristmill reads version {VERSION}")));
    }
    let (n_rows, n_columns, first) = (rest.count()?, rest.count()?, rest.count()?);
    // 53 bytes a column: a length that the bytes cannot hold is refused before it is allocated.
    if n_columns > rest.rest.len() as u64 / 53 {
        return Err(EngineError::Partial(format!("{n_columns} columns do not fit into {} bytes", bytes.len())));
    }
    let n_columns = usize::try_from(n_columns).map_err(|error| EngineError::Partial(error.to_string()))?;
    let compared =
        if first == u64::MAX { Compared::All } else { Compared::FirstWithRest(usize::try_from(first).unwrap_or(n_columns).min(n_columns)) };
    let columns = (0..n_columns).map(|_| column(&mut rest)).collect::<Result<Vec<_>, _>>()?;
    let layout = compared.layout(n_columns);
    let pairs = match rest.byte()? {
        DENSE => Pairs::Dense(rest.cells(layout.cells(), 8, Reader::number)?),
        PAIRWISE => Pairs::Pairwise(rest.cells(layout.cells(), 48, pair)?),
        form => return Err(EngineError::Partial(format!("form {form} is not known"))),
    };
    if !rest.rest.is_empty() {
        return Err(EngineError::Partial(format!("{} bytes are left over", rest.rest.len())));
    }
    Ok(Moments { n_rows, columns, compared, layout, pairs })
}

fn column(rest: &mut Reader<'_>) -> Result<ColumnMoments, EngineError> {
    let n = rest.count()?;
    let flags = rest.byte()?;
    let (known, two_valued) = (flags & 1 == 1, flags & 2 == 2);
    let unit = i32::from_le_bytes(rest.take()?);
    let centre = rest.number()?;
    let frame = Frame { centre, unit, known };
    Ok(ColumnMoments { n, frame, mean: rest.number()?, m2: rest.number()?, min: rest.number()?, max: rest.number()?, two_valued })
}

fn pair(rest: &mut Reader<'_>) -> Result<PairMoments, EngineError> {
    Ok(PairMoments {
        n: rest.count()?,
        mean_x: rest.number()?,
        mean_y: rest.number()?,
        m2_x: rest.number()?,
        m2_y: rest.number()?,
        co: rest.number()?,
    })
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], EngineError> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or_else(|| EngineError::Partial("it ends too early".to_owned()))?;
        self.rest = tail;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, EngineError> {
        Ok(self.take::<1>()?[0])
    }

    fn count(&mut self) -> Result<u64, EngineError> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn number(&mut self) -> Result<f64, EngineError> {
        Ok(f64::from_le_bytes(self.take()?))
    }

    fn cells<T>(&mut self, n: usize, bytes: usize, read: impl Fn(&mut Self) -> Result<T, EngineError>) -> Result<Vec<T>, EngineError> {
        if self.rest.len() / bytes < n {
            return Err(EngineError::Partial(format!("{n} pairs do not fit into {} bytes", self.rest.len())));
        }
        (0..n).map(|_| read(self)).collect()
    }
}
