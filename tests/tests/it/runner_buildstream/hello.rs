//! The pattern of BuildStream's own test of recc: a first build runs its compile and its link, a
//! second one takes both from the cache.

use super::{Project, Runner, processes};

fn build_twice(element: &str, ran: &str) {
    let Some(project) = Project::new() else { return };
    for (round, expected) in [(0, ran), (1, "Action Cache hit for [")] {
        let path = project.path(&format!("project/elements/{element}.bst"));
        let text = std::fs::read_to_string(&path).expect("an element");
        // Another element to BuildStream, the same commands to recc.
        let text = text.replace("CHANGE: \"0\"", &format!("CHANGE: \"{round}\""));
        let text = text.replace("CHANGE: \"1\"", &format!("CHANGE: \"{round}\""));
        std::fs::write(&path, text).expect("an element");
        let _removed = std::fs::remove_dir_all(project.path("ours/logs"));
        project.build(Runner::Ours, &format!("{element}.bst"));
        let log = project.log(element);
        assert_eq!(log.matches(expected).count(), 2, "{round}: {log}");
        let hits = log.matches("Action Cache hit for [").count();
        assert_eq!(hits, 2 * round, "{log}");
    }
    let folder = project.folder.path().display().to_string();
    assert!(processes(&folder).is_empty() || !project.is_clean());
}

#[test]
fn the_second_build_hits_what_the_first_one_ran() {
    build_twice("hello", "executing locally");
}

#[test]
fn the_second_build_hits_what_casd_executed() {
    build_twice("hello-remote", "Remote execution finished with exit code 0");
}
