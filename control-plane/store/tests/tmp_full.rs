mod workload;
use outrigger_store::*;
#[tokio::test]
async fn real_tmpfs() {
    let Ok(dir) = std::env::var("TMPFS_DIR") else { return };
    let path = std::path::Path::new(&dir).join("s.redb");
    let store = RedbStore::open(&path, Options::default()).unwrap();
    let mut acked = workload::Acknowledged::new();
    let mut n = 0;
    let refusal = loop { let r = workload::run(&store, n..n+1, &mut acked).await; n += 1; if let Some(r) = r { break r } };
    println!("after {n}: {refusal:?} health {:?} len {}", store.health(), std::fs::metadata(&path).unwrap().len());
    workload::verify(&store, &acked).await;
    for _ in 0..3 { println!("again: {:?}", workload::run(&store, n..n+1, &mut acked).await); n+=1; workload::verify(&store, &acked).await; }
    std::fs::remove_file(std::path::Path::new(&dir).join("filler")).unwrap();
    println!("room: {:?}", workload::run(&store, n..n+20, &mut acked).await); 
    workload::verify(&store, &acked).await;
    println!("{:?} {:?}", store.health(), store.stats());
    store.close().await.unwrap();
    let store = RedbStore::open(&path, Options::default()).unwrap();
    workload::verify(&store, &acked).await;
    store.close().await.unwrap();
    // creation on a full file system
    std::fs::write(std::path::Path::new(&dir).join("filler"), vec![0;1]).unwrap();
}
