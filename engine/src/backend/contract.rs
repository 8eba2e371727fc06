//! What a driver and its shader agree on: bindings in order, size of a workgroup, layout of the parameters.
//!
//! Binding 0 is the uniform with the parameters, 1 and up are storage buffers. `engine/tests/contract.rs` reads the same
//! facts out of every shader and compares.

use gristmill_shaders::Shader;

/// How a shader uses a storage buffer.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads only.
    Read,
    /// Reads and writes.
    ReadWrite,
}

/// The Rust side of one shader.
#[doc(hidden)]
#[derive(Debug)]
pub struct Contract {
    /// The shader.
    pub shader: &'static Shader,
    /// Storage buffers, from binding 1 on.
    pub buffers: &'static [Access],
    /// Size of a workgroup.
    pub workgroup: [u32; 3],
    /// Name and offset of every parameter.
    pub fields: &'static [(&'static str, usize)],
    /// Bytes of the parameters.
    pub params_bytes: usize,
}

/// Declares the parameters of a shader: a plain struct of `u32` and the offsets of its fields.
macro_rules! params {
    ($(#[$doc:meta])* struct $name:ident { $($field:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Debug, Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
        pub(crate) struct $name {
            $(pub(crate) $field: u32),+
        }

        impl $name {
            pub(crate) const FIELDS: &'static [(&'static str, usize)] =
                &[$((stringify!($field), std::mem::offset_of!($name, $field))),+];
        }
    };
}
pub(crate) use params;
