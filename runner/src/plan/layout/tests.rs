use super::*;
use crate::capability::Capabilities;
use crate::seccomp::Program;

fn path(text: &str) -> TreePath {
    TreePath::parse(text).expect("a path")
}

fn blueprint() -> Blueprint {
    Blueprint {
        root: Root::Directory("/staged".to_owned()),
        subtrees: Vec::new(),
        pivot_at: "/pivot".to_owned(),
        outer: (1000, 1001),
        inner: (0, 7),
        own_group: true,
        network: false,
        bits32: false,
        keep_tmp: false,
        directories: BTreeSet::from([path("w/out")]),
        working_directory: path("w"),
        mounts: Vec::new(),
        exec: Exec {
            candidates: vec![c"/bin/true".to_owned()],
            arguments: vec![c"true".to_owned()],
            environment: Vec::new(),
            capabilities: Capabilities::default(),
            filter: Program::default(),
        },
    }
}

fn steps(blueprint: &Blueprint) -> Vec<String> {
    let plan = plan(blueprint).expect("a plan");
    plan.steps.iter().map(ToString::to_string).collect()
}

fn index(steps: &[String], text: &str) -> usize {
    steps.iter().position(|step| step == text).unwrap_or_else(|| panic!("{text}: {steps:#?}"))
}

#[test]
fn the_host_is_left_before_any_path_of_the_tree_is_touched() {
    let plan = plan(&blueprint()).expect("a plan");
    let pivot = plan.steps.iter().position(|step| matches!(step, Step::Pivot { .. }));
    let pivot = pivot.expect("a pivot");
    for (index, step) in plan.steps.iter().enumerate() {
        match step {
            Step::Directory { .. }
            | Step::EmptyFile { .. }
            | Step::Symlink { .. }
            | Step::Attach { .. }
            | Step::WorkingDirectory(_) => assert!(index > pivot, "{step}"),
            Step::Write { .. } | Step::Private | Step::Place { .. } | Step::Meet { .. } => {
                assert!(index < pivot, "{step}");
            }
            _ => {}
        }
    }
}

#[test]
fn what_is_opened_of_the_host_is_opened_before_and_of_the_sandbox_after() {
    let plan = plan(&blueprint()).expect("a plan");
    let mut inside = false;
    for step in &plan.steps {
        match step {
            Step::Pivot { .. } => inside = true,
            Step::Open { source: Source::Bind(path), .. } => {
                assert_eq!(path.to_bytes().starts_with(b"/proc/"), inside, "{path:?}");
            }
            _ => {}
        }
    }
}

#[test]
fn every_slot_is_filled_once_and_used() {
    let plan = plan(&blueprint()).expect("a plan");
    let mut filled = vec![0; plan.slots];
    let mut used = vec![0; plan.slots];
    for step in &plan.steps {
        match step {
            Step::Open { slot, .. } => filled[slot.0] += 1,
            Step::Attach { slot, .. } | Step::Pivot { root: slot } => {
                assert_eq!(filled[slot.0], 1);
                used[slot.0] += 1;
            }
            _ => {}
        }
    }
    assert!(filled.iter().chain(&used).all(|count| *count == 1));
}

#[test]
fn identities_are_mapped_one_to_one() {
    let plan = plan(&blueprint()).expect("a plan");
    let written: Vec<_> = plan
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Write { path, content } => Some((path.to_str(), content.to_str())),
            _ => None,
        })
        .collect();
    assert_eq!(
        written,
        [
            (Ok("/proc/self/setgroups"), Ok("deny")),
            (Ok("/proc/self/uid_map"), Ok("0 1000 1\n")),
            (Ok("/proc/self/gid_map"), Ok("7 1001 1\n")),
        ]
    );
}

#[test]
fn the_network_is_new_unless_asked_for() {
    let mut wanted = blueprint();
    assert!(plan(&wanted).expect("a plan").namespaces.contains(&Namespace::Net));
    index(&steps(&wanted), "start the loopback interface");
    wanted.network = true;
    assert!(!plan(&wanted).expect("a plan").namespaces.contains(&Namespace::Net));
    assert!(!steps(&wanted).iter().any(|step| step.contains("loopback")));
}

#[test]
fn outputs_have_parents_below_what_is_mounted() {
    let steps = steps(&blueprint());
    assert!(index(&steps, "make the directory `/w/out`") < index(&steps, "mount at `/proc`"));
    assert!(index(&steps, "mount at `/dev`") < index(&steps, "mount at `/dev/null`"));
    assert!(index(&steps, "mount at `/proc`") < index(&steps, "mount at `/proc/sys`"));
}

#[test]
fn tmp_is_part_of_the_tree_when_outputs_are_there() {
    let mut wanted = blueprint();
    index(&steps(&wanted), "mount at `/tmp`");
    wanted.keep_tmp = true;
    let steps = steps(&wanted);
    assert!(!steps.iter().any(|step| step == "mount at `/tmp`"));
    index(&steps, "make the directory `/tmp`");
}

#[test]
fn mounts_of_the_caller_come_last_and_in_order() {
    let mut wanted = blueprint();
    let mount = |at: &str, directory| Mount {
        host: format!("/host/{at}"),
        at: path(at),
        directory,
        read_only: true,
        over: None,
    };
    wanted.mounts = vec![mount("dev", true), mount("a/b", false)];
    let steps = steps(&wanted);
    assert!(index(&steps, "mount at `/dev/pts`") < index(&steps, "make the file `/a/b`"));
    assert!(index(&steps, "make the file `/a/b`") < index(&steps, "mount at `/a/b`"));
    assert!(index(&steps, "make the directory `/a`") < index(&steps, "make the file `/a/b`"));
}

#[test]
fn separators_in_paths_of_layers_are_escaped() {
    let mut wanted = blueprint();
    wanted.root = Root::Overlay {
        lower: "/a:b\\c".to_owned(),
        upper: "/u".to_owned(),
        work: "/w".to_owned(),
    };
    let plan = plan(&wanted).expect("a plan");
    let lower = plan.steps.iter().find_map(|step| match step {
        Step::Open { source: Source::New { kind, parameters }, .. } if *kind == c"overlay" => {
            parameters[0].1.clone()
        }
        _ => None,
    });
    assert_eq!(lower, Some(c"/a\\:b\\\\c".to_owned()));
}

#[test]
fn no_path_may_hold_nul() {
    let mut wanted = blueprint();
    wanted.pivot_at = "a\0b".to_owned();
    assert!(plan(&wanted).is_err());
}

mod any {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever an action declares, nothing of the tree is touched outside.
        #[test]
        fn order_holds(
            directories in proptest::collection::btree_set("[a-c]{1,2}(/[a-c]{1,2}){0,3}", 0..8),
            working in "([a-z.]{1,4}/?){0,3}",
            mounts in proptest::collection::vec("[a-d]{1,2}(/[a-d]){0,2}", 0..4),
            flags in any::<[bool; 3]>(),
        ) {
            let mut wanted = blueprint();
            wanted.directories = directories.iter().map(|text| path(text)).collect();
            if let Ok(working) = TreePath::parse(&working) {
                wanted.working_directory = working;
            }
            wanted.mounts = mounts.iter().map(|at| Mount {
                host: "/h".to_owned(),
                at: path(at),
                directory: flags[0],
                read_only: flags[1],
                over: None,
            }).collect();
            wanted.keep_tmp = flags[2];
            let plan = plan(&wanted).expect("a plan");
            let pivot = plan.steps.iter().position(|s| matches!(s, Step::Pivot { .. }));
            let first = plan.steps.iter().position(|s| matches!(
                s, Step::Directory { .. } | Step::EmptyFile { .. } | Step::Attach { .. }
            ));
            prop_assert!(pivot < first);
            for directory in &wanted.directories {
                let text = format!("make the directory `/{directory}`");
                prop_assert!(plan.steps.iter().any(|step| step.to_string() == text));
            }
        }
    }
}
