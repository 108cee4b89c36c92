//! Lines in the decision's record.

#[cfg(target_arch = "wasm32")]
use crate::bindings::outrigger::policy::host;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// Leaves a line in the decision's record, and on standard error when run natively. The host keeps 64 lines and
/// 16 KiB of a call; the macros [`debug!`](crate::debug), [`info!`](crate::info), [`warn!`](crate::warn) and
/// [`error!`](crate::error) format as `println!` does.
pub fn log(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    {
        let level = match level {
            Level::Debug => host::Level::Debug,
            Level::Info => host::Level::Info,
            Level::Warn => host::Level::Warn,
            Level::Error => host::Level::Error,
        };
        host::log(level, message);
    }
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{level:?}: {message}");
}

#[macro_export]
macro_rules! debug {
    ($($part:tt)*) => { $crate::log($crate::Level::Debug, &::std::format!($($part)*)) };
}

#[macro_export]
macro_rules! info {
    ($($part:tt)*) => { $crate::log($crate::Level::Info, &::std::format!($($part)*)) };
}

#[macro_export]
macro_rules! warn {
    ($($part:tt)*) => { $crate::log($crate::Level::Warn, &::std::format!($($part)*)) };
}

#[macro_export]
macro_rules! error {
    ($($part:tt)*) => { $crate::log($crate::Level::Error, &::std::format!($($part)*)) };
}
