//! Durable commits: alone, and many that share a write.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use outrigger_store::{Key, Options, RedbStore, Store as _, Transaction};
use tokio::runtime::Runtime;

const VALUE_BYTES: usize = 512;
const TOGETHER: u64 = 500;

fn transaction(number: u64) -> Transaction {
    let key = Key::builder().text("bench").u64(number).build();
    Transaction::new().put(key, vec![7; VALUE_BYTES])
}

fn commits(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
    let store = RedbStore::open(directory.path().join("store.redb"), Options::default()).expect("a store opens");
    let mut number = 0;
    let mut group = criterion.benchmark_group("store/commit");
    group.sample_size(20);
    let mut next = || {
        number += 1;
        transaction(number)
    };
    group.bench_function("alone", |bencher| {
        let commit = |transaction| runtime.block_on(store.commit(transaction)).expect("it commits");
        bencher.iter_batched(&mut next, commit, BatchSize::SmallInput);
    });
    group.throughput(Throughput::Elements(TOGETHER));
    group.bench_function("500 together", |bencher| {
        let commit = |transactions: Vec<Transaction>| {
            let committed = runtime.block_on(join_all(transactions.into_iter().map(|one| store.commit(one))));
            assert!(committed.iter().all(Result::is_ok));
            committed
        };
        bencher.iter_batched(|| (0..TOGETHER).map(|_| next()).collect(), commit, BatchSize::SmallInput);
    });
    group.finish();
    runtime.block_on(store.close()).expect("the store closes");
}

criterion_group!(benches, commits);
criterion_main!(benches);
