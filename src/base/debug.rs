//! `Debug` for types of which a reader is shown little.

/// Implements `Debug`: a type shows the values that are named, and that there is more.
macro_rules! debug {
    ($($name:ident $(<$($generic:tt),+>)? $(($this:ident) $($field:ident: $value:expr),+)?;)+) => {$(
        impl $(<$($generic),+>)? std::fmt::Debug for $name $(<$($generic),+>)? {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut shown = f.debug_struct(stringify!($name));
                $(
                    let $this = self;
                    $(shown.field(stringify!($field), &$value);)+
                )?
                shown.finish_non_exhaustive()
            }
        }
    )+};
}

pub(crate) use debug;
