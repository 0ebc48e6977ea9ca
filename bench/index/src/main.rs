//! Compares engines for the bus's index: sorted batches of random updates, then random reads, at a bounded memory.
//!
//! `bench-index ENGINE ENTITIES BATCHES`, where ENGINE is runs (Hob's own), redb, fjall, memory (a map of hashes to counts),
//! or nothing, which shows what the bench itself takes. Prints figures; nothing here is a timed test.

use std::path::Path;
use std::time::Instant;

use fjall::KeyspaceCreateOptions;
use fjall::config::{
    BlockSizePolicy, BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry, PartitioningPolicy,
    PinningPolicy,
};
use redb::{ReadableDatabase, TableDefinition};

const BATCH: usize = 65_536;
const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("entities");

trait Engine {
    fn put(&self, batch: &[(Vec<u8>, Vec<u8>)]);
    fn get(&self, key: &[u8]) -> bool;
    fn get_many(&self, keys: &[Vec<u8>]) -> usize {
        keys.iter().filter(|k| self.get(k)).count()
    }
    fn close(self: Box<Self>) {}
}

struct Fjall(fjall::Database, fjall::Keyspace);
impl Fjall {
    fn open(dir: &Path) -> Self {
        #[allow(deprecated)]
        let db = fjall::Database::builder(dir)
            .cache_size(8 << 20)
            .worker_threads(1)
            .manual_journal_persist(true)
            .max_journaling_size(64 << 20)
            .max_cached_files(Some(128))
            .open()
            .unwrap();
        let ks = db.keyspace("entities", options).unwrap();
        Self(db, ks)
    }
}
fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(std::env::var("MEMTABLE").map_or(4, |v| v.parse().unwrap()) << 20)
        .data_block_size_policy(BlockSizePolicy::all(4096))
        .filter_block_pinning_policy(PinningPolicy::all(false))
        .index_block_pinning_policy(PinningPolicy::all(false))
        .filter_block_partitioning_policy(PartitioningPolicy::all(std::env::var("PART").is_ok()))
        .index_block_partitioning_policy(PartitioningPolicy::all(std::env::var("PART").is_ok()))
        .filter_policy(FilterPolicy::all(FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(10.0))))
}
impl Engine for Fjall {
    fn put(&self, batch: &[(Vec<u8>, Vec<u8>)]) {
        if std::env::var("INGEST").is_ok() {
            let mut i = self.1.start_ingestion().unwrap();
            for (k, v) in batch {
                i.write(k.as_slice(), v.as_slice()).unwrap();
            }
            i.finish().unwrap();
            return;
        }
        let mut w = fjall::OwnedWriteBatch::with_capacity(self.0.clone(), batch.len());
        for (k, v) in batch {
            w.insert(&self.1, k.as_slice(), v.as_slice());
        }
        w.commit().unwrap();
    }
    fn get(&self, key: &[u8]) -> bool {
        self.1.get(key).unwrap().is_some()
    }
}

struct Runs(hob_store::Index);
impl Engine for Runs {
    fn put(&self, batch: &[(Vec<u8>, Vec<u8>)]) {
        let mut entries = batch.iter().map(|(k, v)| (k.as_slice(), v.as_slice()));
        self.0
            .commit(hob_store::IndexCommit { puts: vec![("entities", &mut entries)], ..Default::default() })
            .unwrap();
    }
    fn get(&self, _: &[u8]) -> bool {
        unreachable!()
    }
    fn get_many(&self, keys: &[Vec<u8>]) -> usize {
        self.0.get_many("entities", keys).unwrap().iter().flatten().count()
    }
}

/// Forgets everything: what is left is the making and sorting of keys.
struct Nothing;
impl Engine for Nothing {
    fn put(&self, batch: &[(Vec<u8>, Vec<u8>)]) {
        std::hint::black_box(batch);
    }
    fn get(&self, key: &[u8]) -> bool {
        std::hint::black_box(key).len() > 1000
    }
}

/// The least that knows the count of every entity, in memory.
#[derive(Default)]
struct Memory(std::cell::RefCell<std::collections::HashMap<u128, u64>>);
fn hash(key: &[u8]) -> u128 {
    let (mut a, mut b) = (1_u64, 2_u64);
    for piece in key.chunks(8) {
        let mut bytes = [0; 8];
        bytes[..piece.len()].copy_from_slice(piece);
        let number = u64::from_le_bytes(bytes);
        (a, b) = (mix(a ^ number), mix(b.wrapping_add(number)));
    }
    u128::from(a) << 64 | u128::from(b)
}
impl Engine for Memory {
    fn put(&self, batch: &[(Vec<u8>, Vec<u8>)]) {
        let mut map = self.0.borrow_mut();
        for (k, _) in batch {
            *map.entry(hash(k)).or_default() += 1;
        }
    }
    fn get(&self, key: &[u8]) -> bool {
        self.0.borrow().contains_key(&hash(key))
    }
}

struct Redb(redb::Database);
impl Engine for Redb {
    fn put(&self, batch: &[(Vec<u8>, Vec<u8>)]) {
        let mut t = self.0.begin_write().unwrap();
        t.set_durability(redb::Durability::None).unwrap();
        {
            let mut table = t.open_table(TABLE).unwrap();
            for (k, v) in batch {
                table.insert(k.as_slice(), v.as_slice()).unwrap();
            }
        }
        t.commit().unwrap();
    }
    fn get(&self, key: &[u8]) -> bool {
        self.0.begin_read().unwrap().open_table(TABLE).unwrap().get(key).unwrap().is_some()
    }
    fn get_many(&self, keys: &[Vec<u8>]) -> usize {
        let t = self.0.begin_read().unwrap().open_table(TABLE).unwrap();
        keys.iter().filter(|k| t.get(k.as_slice()).unwrap().is_some()).count()
    }
}

fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
fn key(n: u64) -> Vec<u8> {
    if std::env::var("HASHED").is_ok() {
        let mut k = mix(n).to_be_bytes().to_vec();
        k.extend(mix(n ^ 77).to_be_bytes());
        return k;
    }
    format!("production/uk/orders\0https://orders.example.test/orders/{:x}", mix(n) >> 16).into_bytes()
}
fn status(what: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    text.lines()
        .find(|l| l.starts_with(what))
        .and_then(|l| l.split_whitespace().nth(1))
        .map_or(0, |v| v.parse().unwrap())
}
fn cpu() -> f64 {
    let t = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = t.rsplit(')').next().unwrap().split_whitespace().collect();
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0
}
fn disk(dir: &Path) -> u64 {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|e| {
            let e = e.unwrap();
            let m = e.metadata().unwrap();
            if m.is_dir() { disk(&e.path()) } else { m.len() }
        })
        .sum()
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let entities: u64 = args[2].parse().unwrap();
    let batches: u64 = args[3].parse().unwrap();
    let dir = std::path::PathBuf::from("/tmp/bench-index-dir");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    let engine: Box<dyn Engine> = match args[1].as_str() {
        "fjall" => Box::new(Fjall::open(&dir)),
        "nothing" => Box::new(Nothing),
        "memory" => Box::new(Memory::default()),
        "runs" => Box::new(Runs(hob_store::Index::open(&dir).unwrap())),
        _ => Box::new(Redb(
            redb::Builder::new().set_cache_size(16 << 20).create(dir.join("index.redb")).unwrap(),
        )),
    };
    let phase = |name: &str, ops: u64, f: &mut dyn FnMut()| {
        let (t, c) = (Instant::now(), cpu());
        f();
        let s = t.elapsed().as_secs_f64();
        println!(
            "{name:<28} {:>10.0} op/s {:>7.2} us wall {:>7.2} us cpu   rss {} MB (peak {} MB, anon {} MB) disk {} MB",
            ops as f64 / s,
            s * 1e6 / ops as f64,
            (cpu() - c) * 1e6 / ops as f64,
            status("VmRSS") / 1024,
            status("VmHWM") / 1024,
            status("RssAnon") / 1024,
            disk(&dir) >> 20
        );
    };
    phase("fill", entities, &mut || {
        for chunk in (0..entities).collect::<Vec<_>>().chunks(BATCH) {
            let mut b: Vec<_> = chunk.iter().map(|n| (key(*n), n.to_be_bytes().repeat(2))).collect();
            b.sort();
            engine.put(&b);
        }
    });
    let mut worst = 0.0f64;
    phase("random updates", batches * BATCH as u64, &mut || {
        for round in 0..batches {
            let mut b: Vec<_> = (0..BATCH as u64)
                .map(|n| (key(mix(round << 32 | n) % entities), n.to_be_bytes().repeat(2)))
                .collect();
            b.sort();
            b.dedup_by(|a, b| a.0 == b.0);
            let t = Instant::now();
            engine.put(&b);
            worst = worst.max(t.elapsed().as_secs_f64());
        }
    });
    println!("worst batch {worst:.3} s");
    let reads = 300_000u64;
    phase("random reads, there", reads, &mut || {
        for n in 0..reads / 100 {
            let keys: Vec<_> = (0..100).map(|m| key(mix(n * 100 + m) % entities)).collect();
            assert_eq!(engine.get_many(&keys), if args[1] == "nothing" { 0 } else { 100 });
        }
    });
    phase("random reads, not there", reads, &mut || {
        for n in 0..reads / 100 {
            let keys: Vec<_> = (0..100).map(|m| key(mix(n * 100 + m) | 1 << 63)).collect();
            assert_eq!(engine.get_many(&keys), 0);
        }
    });
    phase("making keys alone", reads, &mut || {
        for n in 0..reads {
            std::hint::black_box(key(mix(n)));
        }
    });
    engine.close();
}
