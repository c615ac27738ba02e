//! What types that hold something with a descriptor have in common.

/// Reads, writes or seeks by value as by reference.
macro_rules! by_value {
    ($type:ty: Read) => {
        by_value! { $type: Read {
            fn read(buf: &mut [u8]) -> usize;
            fn read_vectored(bufs: &mut [std::io::IoSliceMut<'_>]) -> usize;
            fn read_to_end(buf: &mut Vec<u8>) -> usize;
            fn read_to_string(buf: &mut String) -> usize;
        } }
    };
    ($type:ty: Write) => {
        by_value! { $type: Write {
            fn write(buf: &[u8]) -> usize;
            fn write_vectored(bufs: &[std::io::IoSlice<'_>]) -> usize;
            fn write_all(buf: &[u8]) -> ();
            fn flush() -> ();
        } }
    };
    ($type:ty: $trait:ident { $(fn $name:ident($($arg:ident: $arg_type:ty)?) -> $result:ty;)+ }) => {
        impl std::io::$trait for $type {
            $(fn $name(&mut self, $($arg: $arg_type)?) -> std::io::Result<$result> {
                (&*self).$name($($arg)?)
            })+
        }
    };
}

/// The descriptor of a type, which `OwnedFd` can be made of, is that of what it holds.
macro_rules! descriptor {
    ($type:ty: $($inner:tt)+) => {
        impl std::os::fd::AsFd for $type {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.$($inner)+.as_fd()
            }
        }

        impl std::os::fd::AsRawFd for $type {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                self.$($inner)+.as_raw_fd()
            }
        }

        impl std::os::fd::IntoRawFd for $type {
            fn into_raw_fd(self) -> std::os::fd::RawFd {
                std::os::fd::OwnedFd::from(self).into_raw_fd()
            }
        }
    };
}

pub(crate) use {by_value, descriptor};
