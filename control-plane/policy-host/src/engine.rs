//! How wasmtime is set up: once for the host, once for the process that compiles.
//!
//! Both share every setting that shapes machine code, so that what one compiles the other can run; wasmtime compares
//! them itself before it accepts compiled bytes. There is no WASI anywhere.

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::limits::MAX_MEMORY_BYTES;

/// The engine that runs policies. Instances come from a pool: a fresh one for each evaluation costs microseconds.
pub(crate) fn running() -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(256)
        .total_core_instances(4096)
        .total_memories(512)
        .total_tables(1024)
        .max_core_instances_per_component(64)
        // QuickJS guests need three.
        .max_memories_per_component(4)
        .max_tables_per_component(16)
        .max_memory_size(MAX_MEMORY_BYTES)
        .max_unused_warm_slots(64)
        // Only together with the page-map scan, which clears no more than the guest has touched.
        .linear_memory_keep_resident(2 * 1024 * 1024)
        .table_keep_resident(64 * 1024)
        .pagemap_scan(Enabled::Auto);
    let mut config = shared();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

/// The engine that compiles them. It runs nothing, so it reserves nothing: it has to fit under an address-space limit.
pub(crate) fn compiling() -> wasmtime::Result<Engine> {
    let mut config = shared();
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    Engine::new(&config)
}

fn shared() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        .consume_fuel(true)
        .memory_init_cow(true)
        // One bit pattern for NaN, whatever the processor: a replay compares bits.
        .cranelift_nan_canonicalization(true)
        // Its results may differ from processor to processor.
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .max_wasm_stack(512 * 1024);
    config
}
