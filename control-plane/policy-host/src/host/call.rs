//! One call into a guest: a fresh instance, everything armed, and every way it can end told apart.

use wasmtime::{Store, Trap};

use super::{LoadError, PolicyHost};
use crate::bindings::{Policy as Bindings, PolicyPre};
use crate::context::{Context, LogFlood};
use crate::fault::Fault;
use crate::judge::cut;
use crate::limits::{OUTPUT_BYTES, TEXT_BYTES};
use crate::proposal::{Log, LogLevel};

/// What a call took, however it ended.
pub(super) struct Usage {
    pub(super) log: Log,
    pub(super) fuel: u64,
    pub(super) peak_memory: usize,
}

impl PolicyHost {
    /// Instantiates, calls with at most so much fuel, and drops the instance with all it ever knew.
    pub(super) fn call<R>(
        &self,
        policy: &PolicyPre<Context>,
        limit: u64,
        function: impl FnOnce(&Bindings, &mut Store<Context>) -> wasmtime::Result<R>,
    ) -> (Result<R, Fault>, Usage) {
        let mut store = self.armed_store(limit);
        let result = policy.instantiate(&mut store).and_then(|guest| function(&guest, &mut store));
        let fuel = limit.saturating_sub(store.get_fuel().unwrap_or(0));
        let context = store.into_data();
        let result = result.map_err(|error| self.fault(&error, &context, limit));
        (result, Usage { log: context.log.log, fuel, peak_memory: context.memory.peak })
    }

    /// Instantiates once to see whether the types of the exports are those of the contract, which shows only then.
    pub(super) fn check_types(&self, policy: &PolicyPre<Context>) -> Result<(), LoadError> {
        let limit = self.limits.fuel;
        let mut store = self.armed_store(limit);
        match policy.instantiate(&mut store) {
            Ok(_) => Ok(()),
            Err(error) if error.is::<Trap>() => Err(LoadError::Describe(self.fault(&error, store.data(), limit))),
            Err(error) => Err(mismatch(&error)),
        }
    }

    /// A store in which every limit is set. Nothing in it outlives the call.
    fn armed_store(&self, fuel: u64) -> Store<Context> {
        let mut store = Store::new(&self.engine, Context::new(self.limits.memory_bytes));
        store.limiter(|context| &mut context.memory);
        store.set_epoch_deadline(self.ticker.ticks_to_deadline());
        // What the guest hands over per call, counted before the host allocates it: a list of a million strings that
        // all point to the same megabyte is small in the guest and a terabyte here.
        store.set_hostcall_fuel(OUTPUT_BYTES);
        store.set_fuel(fuel).expect("the engine is configured to count fuel");
        store
    }

    /// What an error of a call means.
    fn fault(&self, error: &wasmtime::Error, context: &Context, fuel: u64) -> Fault {
        if error.is::<LogFlood>() {
            return Fault::TooLarge { what: LogFlood.to_string() };
        }
        if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            return Fault::Overloaded { what: "all instances are in use".to_owned() };
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => return Fault::OutOfFuel { limit: fuel },
            Some(Trap::Interrupt) => return Fault::Deadline { limit: self.limits.deadline },
            // A guest that is refused memory aborts, which looks like any other crash.
            _ if context.memory.denied => return Fault::Memory { limit: self.limits.memory_bytes },
            Some(trap) => return Fault::Trap { text: last_words(&trap.to_string(), &context.log.log) },
            None => {}
        }
        let text = error.root_cause().to_string();
        // The type of this error is private to wasmtime; a test holds its words.
        if text.contains("fuel allocated for hostcalls has been exhausted") {
            return Fault::TooLarge { what: format!("more than {OUTPUT_BYTES} bytes were handed to the host at once") };
        }
        // The rest is a guest that breaks the rules of the component model: a string that is not UTF-8, a list that
        // lies outside its memory.
        Fault::Trap { text: cut(text, TEXT_BYTES) }
    }
}

/// A component whose imports or exports have other types than the contract's.
pub(super) fn mismatch(error: &wasmtime::Error) -> LoadError {
    LoadError::Mismatch { problem: cut(format!("{error:#}"), TEXT_BYTES) }
}

/// A trap says where a policy ended; what it said before says why.
fn last_words(trap: &str, log: &Log) -> String {
    match log.lines.last() {
        Some(line) if line.level == LogLevel::Error => cut(format!("{}: {}", trap, line.message), TEXT_BYTES),
        _ => trap.to_owned(),
    }
}
