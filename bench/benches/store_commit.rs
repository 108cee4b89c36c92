//! Durable commits: alone, and many that share a write.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
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
    group.bench_function("alone", |bencher| {
        bencher.iter(|| {
            number += 1;
            runtime.block_on(store.commit(transaction(number))).expect("it commits")
        });
    });
    group.throughput(Throughput::Elements(TOGETHER));
    group.bench_function("500 together", |bencher| {
        bencher.iter(|| {
            number += TOGETHER;
            let commits = (0..TOGETHER).map(|at| store.commit(transaction(number + at)));
            let committed = runtime.block_on(join_all(commits));
            assert!(committed.into_iter().all(|one| one.is_ok()));
        });
    });
    group.finish();
    runtime.block_on(store.close()).expect("the store closes");
}

criterion_group!(benches, commits);
criterion_main!(benches);
