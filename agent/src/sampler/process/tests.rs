use super::*;
use std::fs;

const AGENT: u32 = 2;
const PROGRAM: u32 = 10;
const WANTED: Wanted = Wanted { memory: true, disk: true };

/// A procfs of files.
struct Fixture {
    dir: tempfile::TempDir,
    children_files: bool,
}

#[derive(Clone, Copy)]
struct Shape {
    parent: u32,
    own: u64,
    reaped: u64,
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self { dir: tempfile::tempdir().unwrap(), children_files: true };
        fixture.process(AGENT, Shape { parent: 1, own: 0, reaped: 0 }, &[PROGRAM]);
        fixture
    }

    fn process(&self, pid: u32, shape: Shape, children: &[u32]) {
        let dir = self.dir.path().join(pid.to_string());
        fs::create_dir_all(dir.join(format!("task/{pid}"))).unwrap();
        fs::create_dir_all(dir.join("fd")).unwrap();
        let Shape { parent, own, reaped } = shape;
        let stat = format!("{pid} (x) S {parent} 1 1 0 -1 0 0 0 0 0 {own} 0 {reaped} 0 20 0 1 0 {pid} 0 100 0\n");
        fs::write(dir.join("stat"), stat).unwrap();
        fs::write(dir.join("statm"), "500 100 60 1 0 50 0\n").unwrap();
        fs::write(dir.join("io"), format!("rchar: 1\nread_bytes: {}\nwrite_bytes: 7\n", own * 1000)).unwrap();
        if self.children_files {
            let list: String = children.iter().map(|child| format!("{child} ")).collect();
            fs::write(dir.join(format!("task/{pid}/children")), list).unwrap();
        }
    }

    fn disk(&self, pid: u32, read: u64, written: u64) {
        let io = format!("rchar: 1\nread_bytes: {read}\nwrite_bytes: {written}\n");
        fs::write(self.dir.path().join(format!("{pid}/io")), io).unwrap();
    }

    /// As the kernel does it: descriptors of a dead process fail.
    fn end(&self, tree: &mut ProcessTree, pid: u32) {
        fs::remove_dir_all(self.dir.path().join(pid.to_string())).unwrap();
        for process in &mut tree.processes {
            if process.pid == pid {
                process.files = None;
            }
        }
    }

    fn tree(&self) -> ProcessTree {
        ProcessTree { ticks_per_second: 100.0, page_bytes: 4096, ..ProcessTree::new(self.dir.path(), AGENT) }
    }
}

fn ticks(own: u64) -> Shape {
    Shape { parent: PROGRAM, own, reaped: 0 }
}

#[test]
fn a_tree_is_summed_and_the_agent_is_not_part_of_it() {
    let fixture = Fixture::new();
    fixture.process(PROGRAM, ticks(100), &[11]);
    fixture.process(11, ticks(50), &[]);
    let (mut tree, mut scratch, start) = (fixture.tree(), Scratch::new(), Instant::now());
    let first = tree.read(PROGRAM, start, WANTED, &mut scratch).unwrap();
    assert_eq!((first.processes, first.threads, first.cpu_cores), (2, 2, None));
    assert_eq!(first.rss_bytes, Some(200 * 4096));
    assert_eq!(first.working_set_bytes, Some((40 + 40 + 60) * 4096));

    fixture.process(PROGRAM, ticks(130), &[11]);
    fixture.process(11, ticks(70), &[]);
    let second = tree.read(PROGRAM, start + Duration::from_secs(1), WANTED, &mut scratch).unwrap();
    assert_eq!(second.cpu_cores, Some(0.5));
    assert_eq!(second.disk_read_per_second, Some(50_000.0));
    assert_eq!(second.disk_write_per_second, Some(0.0));
}

#[test]
fn a_process_born_since_the_last_look_counts_from_its_birth() {
    let fixture = Fixture::new();
    fixture.process(PROGRAM, ticks(0), &[]);
    let (mut tree, mut scratch, start) = (fixture.tree(), Scratch::new(), Instant::now());
    tree.read(PROGRAM, start, WANTED, &mut scratch);
    fixture.process(PROGRAM, ticks(0), &[11]);
    fixture.process(11, ticks(40), &[]);
    let reading = tree.read(PROGRAM, start + Duration::from_secs(1), WANTED, &mut scratch).unwrap();
    assert_eq!(reading.cpu_cores, Some(0.4));
}

#[test]
fn the_end_of_a_child_takes_nothing_back_and_counts_nothing_twice() {
    let fixture = Fixture::new();
    fixture.process(PROGRAM, ticks(0), &[11]);
    fixture.process(11, ticks(1_000), &[]);
    let (mut tree, mut scratch, start) = (fixture.tree(), Scratch::new(), Instant::now());
    tree.read(PROGRAM, start, WANTED, &mut scratch);
    // It used another 20 ticks before its parent waited for it.
    fixture.end(&mut tree, 11);
    fixture.process(PROGRAM, Shape { parent: AGENT, own: 10, reaped: 1_020 }, &[]);
    let reading = tree.read(PROGRAM, start + Duration::from_secs(1), WANTED, &mut scratch).unwrap();
    assert_eq!((reading.processes, reading.cpu_cores), (1, Some(0.3)));
}

#[test]
fn what_an_ended_child_read_and_wrote_is_not_counted_again_with_its_parent() {
    let fixture = Fixture::new();
    fixture.process(PROGRAM, ticks(0), &[11]);
    fixture.process(11, ticks(1_000), &[]);
    let (mut tree, mut scratch, start) = (fixture.tree(), Scratch::new(), Instant::now());
    tree.read(PROGRAM, start, WANTED, &mut scratch);
    fixture.end(&mut tree, 11);
    fixture.process(PROGRAM, Shape { parent: AGENT, own: 0, reaped: 1_000 }, &[]);
    // The kernel adds the child's million bytes to its parent's; another 500 are new.
    fixture.disk(PROGRAM, 1_000_500, 14);
    let reading = tree.read(PROGRAM, start + Duration::from_secs(1), WANTED, &mut scratch).unwrap();
    assert_eq!((reading.disk_read_per_second, reading.disk_write_per_second), (Some(500.0), Some(0.0)));
    assert_eq!(reading.cpu_cores, Some(0.0));
}

#[test]
fn a_child_that_is_waited_for_between_its_reading_and_its_parents_is_no_jump() {
    let fixture = Fixture::new();
    fixture.process(PROGRAM, ticks(0), &[11]);
    fixture.process(11, ticks(1_000), &[]);
    let (mut tree, mut scratch, start) = (fixture.tree(), Scratch::new(), Instant::now());
    tree.read(PROGRAM, start, WANTED, &mut scratch);
    // The parent was read, then it waited for the child.
    fixture.end(&mut tree, 11);
    fixture.process(PROGRAM, ticks(0), &[]);
    let reading = tree.read(PROGRAM, start + Duration::from_secs(1), WANTED, &mut scratch).unwrap();
    assert_eq!((reading.cpu_cores, reading.disk_read_per_second), (Some(0.0), Some(0.0)));
    fixture.process(PROGRAM, Shape { parent: AGENT, own: 0, reaped: 1_010 }, &[]);
    fixture.disk(PROGRAM, 1_000_070, 14);
    let reading = tree.read(PROGRAM, start + Duration::from_secs(2), WANTED, &mut scratch).unwrap();
    assert_eq!((reading.cpu_cores, reading.disk_read_per_second), (Some(0.1), Some(70.0)));
}

#[test]
fn a_branch_that_ends_as_a_whole_is_settled_with_the_ancestor_that_lives() {
    let fixture = Fixture::new();
    fixture.process(PROGRAM, ticks(0), &[11]);
    fixture.process(11, ticks(100), &[12]);
    fixture.process(12, Shape { parent: 11, own: 200, reaped: 0 }, &[]);
    let (mut tree, mut scratch, start) = (fixture.tree(), Scratch::new(), Instant::now());
    tree.read(PROGRAM, start, WANTED, &mut scratch);
    for pid in [11, 12] {
        fixture.end(&mut tree, pid);
    }
    fixture.process(PROGRAM, Shape { parent: AGENT, own: 0, reaped: 330 }, &[]);
    fixture.disk(PROGRAM, 300_000, 21);
    let reading = tree.read(PROGRAM, start + Duration::from_secs(1), WANTED, &mut scratch).unwrap();
    assert_eq!((reading.cpu_cores, reading.disk_read_per_second), (Some(0.3), Some(0.0)));
}

#[test]
fn the_end_of_an_orphan_takes_nothing_from_the_program() {
    let fixture = Fixture::new();
    fixture.process(AGENT, Shape { parent: 1, own: 0, reaped: 0 }, &[PROGRAM, 12]);
    fixture.process(PROGRAM, ticks(0), &[]);
    fixture.process(12, Shape { parent: AGENT, own: 500, reaped: 0 }, &[]);
    let (mut tree, mut scratch, start) = (fixture.tree(), Scratch::new(), Instant::now());
    tree.read(PROGRAM, start, WANTED, &mut scratch);
    fixture.end(&mut tree, 12);
    // Meanwhile the program waited for another child, too short-lived to be seen.
    fixture.process(PROGRAM, Shape { parent: AGENT, own: 0, reaped: 40 }, &[]);
    let reading = tree.read(PROGRAM, start + Duration::from_secs(1), WANTED, &mut scratch).unwrap();
    assert_eq!(reading.cpu_cores, Some(0.4));
}

#[test]
fn a_debt_that_no_parent_takes_over_is_forgotten() {
    let fixture = Fixture::new();
    fixture.process(PROGRAM, ticks(0), &[11]);
    fixture.process(11, ticks(1_000), &[]);
    let (mut tree, mut scratch, start) = (fixture.tree(), Scratch::new(), Instant::now());
    tree.read(PROGRAM, start, WANTED, &mut scratch);
    // The program ignores SIGCHLD.
    fixture.end(&mut tree, 11);
    fixture.process(PROGRAM, ticks(0), &[]);
    for second in 1..3 {
        tree.read(PROGRAM, start + Duration::from_secs(second), WANTED, &mut scratch);
    }
    fixture.process(PROGRAM, Shape { parent: AGENT, own: 0, reaped: 50 }, &[]);
    let reading = tree.read(PROGRAM, start + Duration::from_secs(3), WANTED, &mut scratch).unwrap();
    assert_eq!(reading.cpu_cores, Some(0.5));
}

#[test]
fn orphans_that_the_agent_adopted_stay_in_the_tree() {
    let fixture = Fixture::new();
    fixture.process(AGENT, Shape { parent: 1, own: 0, reaped: 0 }, &[PROGRAM, 12]);
    fixture.process(PROGRAM, ticks(0), &[]);
    fixture.process(12, ticks(0), &[]);
    let reading = fixture.tree().read(PROGRAM, Instant::now(), WANTED, &mut Scratch::new()).unwrap();
    assert_eq!(reading.processes, 2);
}

#[test]
fn without_children_files_the_tree_is_found_by_parents() {
    let fixture = Fixture { children_files: false, ..Fixture::new() };
    fs::remove_file(fixture.dir.path().join("2/task/2/children")).unwrap();
    fixture.process(PROGRAM, Shape { parent: AGENT, own: 0, reaped: 0 }, &[]);
    fixture.process(20, Shape { parent: 21, own: 0, reaped: 0 }, &[]);
    fixture.process(21, Shape { parent: PROGRAM, own: 0, reaped: 0 }, &[]);
    fixture.process(30, Shape { parent: 1, own: 0, reaped: 0 }, &[]);
    let mut tree = fixture.tree();
    let reading = tree.read(PROGRAM, Instant::now(), WANTED, &mut Scratch::new()).unwrap();
    assert_eq!(reading.processes, 3);
    assert!(!tree.walk.is_cheap());
}

#[test]
fn another_process_under_a_used_number_is_not_taken_for_the_old_one() {
    let fixture = Fixture::new();
    fixture.process(PROGRAM, ticks(500), &[]);
    let (mut tree, mut scratch, start) = (fixture.tree(), Scratch::new(), Instant::now());
    tree.read(PROGRAM, start, WANTED, &mut scratch);
    tree.processes[0].start = Some(1);
    assert_eq!(tree.read(PROGRAM, start + Duration::from_secs(1), WANTED, &mut scratch), None);
}

#[test]
fn a_tree_without_end_is_followed_up_to_the_limit() {
    let fixture = Fixture::new();
    let children: Vec<u32> = (100..100 + 2 * u32::try_from(MAX_PROCESSES).unwrap()).collect();
    fixture.process(PROGRAM, ticks(0), &children);
    fixture.process(children[0], ticks(0), &[PROGRAM]);
    let mut tree = fixture.tree();
    tree.read(PROGRAM, Instant::now(), WANTED, &mut Scratch::new()).unwrap();
    assert_eq!(tree.walk.found().len(), MAX_PROCESSES);
}

#[test]
fn a_program_that_is_gone_has_no_reading() {
    let fixture = Fixture::new();
    assert_eq!(fixture.tree().read(PROGRAM, Instant::now(), WANTED, &mut Scratch::new()), None);
}

#[test]
fn a_real_process_is_read() {
    let me = std::process::id();
    let mut tree = ProcessTree::new(Path::new("/proc"), 0);
    let reading = tree.read(me, Instant::now(), WANTED, &mut Scratch::new()).unwrap();
    assert!(reading.processes >= 1 && reading.threads >= 2, "{reading:?}");
    assert!(reading.rss_bytes > Some(1 << 20) && reading.working_set_bytes > Some(1 << 19), "{reading:?}");
    assert!(reading.descriptors >= Some(3), "{reading:?}");
}
