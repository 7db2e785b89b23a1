//! What the processes of a group used.

use std::path::Path;

use forerunner_proto::ours::SandboxUsage;

/// As the kernel counted it in the group at `path`; zero where it has no such controller here.
pub(super) fn read(path: &Path) -> SandboxUsage {
    parse(&|file| std::fs::read_to_string(path.join(file)).unwrap_or_default())
}

fn parse(read: &dyn Fn(&str) -> String) -> SandboxUsage {
    let number = |file: &str| read(file).trim().parse().unwrap_or(0);
    let (cpu, io, events) = (read("cpu.stat"), read("io.stat"), read("memory.events"));
    SandboxUsage {
        cpu_user_microseconds: keyed(&cpu, "user_usec"),
        cpu_system_microseconds: keyed(&cpu, "system_usec"),
        cpu_throttled_microseconds: keyed(&cpu, "throttled_usec"),
        memory_peak_bytes: number("memory.peak"),
        processes_peak: number("pids.peak"),
        io_read_bytes: summed(&io, "rbytes="),
        io_written_bytes: summed(&io, "wbytes="),
        oom_kills: keyed(&events, "oom_kill"),
    }
}

/// From lines of a name and a number.
fn keyed(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// From lines of a device and several `name=number`.
fn summed(text: &str, name: &str) -> u64 {
    let words = text.split_whitespace().filter_map(|word| word.strip_prefix(name));
    words.filter_map(|value| value.parse::<u64>().ok()).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_kernel() {
        let usage = parse(&|file| {
            match file {
                "cpu.stat" => "usage_usec 30\nuser_usec 10\nsystem_usec 20\nthrottled_usec 5\n",
                "memory.peak" => "4096\n",
                "io.stat" => {
                    "8:0 rbytes=10 wbytes=1 rios=1 wios=1\n8:16 rbytes=5 wbytes=2 dbytes=0\n"
                }
                "memory.events" => "low 0\noom 1\noom_kill 2\noom_group_kill 0\n",
                _ => "",
            }
            .to_owned()
        });
        assert_eq!(
            usage,
            SandboxUsage {
                cpu_user_microseconds: 10,
                cpu_system_microseconds: 20,
                cpu_throttled_microseconds: 5,
                memory_peak_bytes: 4096,
                processes_peak: 0,
                io_read_bytes: 15,
                io_written_bytes: 3,
                oom_kills: 2,
            }
        );
        assert_eq!(parse(&|_| String::new()), SandboxUsage::default());
        assert_eq!(parse(&|_| "user_usec\n: -1 rbytes=x".to_owned()), SandboxUsage::default());
    }
}
