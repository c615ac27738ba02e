//! Stackful green threads with std's own names.

#[cfg(any(green_backend = "asm", test))]
mod arch;
mod base;
mod driver;
mod fiber;
mod stack;
mod sys;
