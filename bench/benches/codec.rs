//! A batch of one sample to a frame and back, and an offer as a control plane sends it.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use outrigger_bench::codec::batch;
use outrigger_protocol::codec::{PREFIX_BYTES, decode, encode};
use outrigger_protocol::message::{ConfigOffer, ConfigRef, ServerMessage};
use outrigger_protocol::sample::MetricBatch;
use outrigger_protocol::seal::Sealed;

fn metrics(criterion: &mut Criterion) {
    let batch = batch();
    let mut frame = Vec::new();
    encode(&batch, &mut frame).expect("a batch of one sample fits");
    let body = frame[PREFIX_BYTES..].to_vec();
    let mut group = criterion.benchmark_group("codec/metrics");
    group.throughput(Throughput::Bytes(frame.len() as u64));
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            frame.clear();
            encode(black_box(&batch), &mut frame)
        });
    });
    group.bench_function("decode", |bencher| bencher.iter(|| decode::<MetricBatch>(black_box(&body))));
    group.finish();
}

fn offer(criterion: &mut Criterion) {
    let sealed = Sealed { encapsulated: [1; 32], ciphertext: vec![2; 8 * 1024] };
    let offer = ConfigOffer { config: ConfigRef { generation: 7, hash: [3; 32] }, nonce: [4; 16], sealed };
    let message = ServerMessage::Offer(Box::new(offer));
    let mut frame = Vec::new();
    encode(&message, &mut frame).expect("8 KiB fit");
    let body = frame[PREFIX_BYTES..].to_vec();
    let mut group = criterion.benchmark_group("codec/offer");
    group.throughput(Throughput::Bytes(frame.len() as u64));
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            frame.clear();
            encode(black_box(&message), &mut frame)
        });
    });
    group.bench_function("decode", |bencher| bencher.iter(|| decode::<ServerMessage>(black_box(&body))));
    group.finish();
}

criterion_group!(benches, metrics, offer);
criterion_main!(benches);
