//! Stackful green threads with std's own names.

#[cfg(green_backend = "asm")]
mod arch;
mod base;
mod driver;
mod fiber;
mod stack;
mod sys;
