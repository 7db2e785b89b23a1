//! Attempts to get out of the sandbox. Each must fail.

use std::io::Read;
use std::os::unix::net::UnixListener;
use std::process::Command;

use forerunner_tests::temp;

use crate::runner::{Case, Lab, args, sh};

/// A compiled program that tries one thing by system call and says `escaped` if it went through.
/// C is what such attempts are written in; the tests need a compiler anyway.
const ATTEMPTS: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int done(long answer) {
    if (answer >= 0) puts("escaped"); else printf("refused: %s\n", strerror(errno));
    fflush(stdout);
    return 0;
}

static void own_user_namespace(void) {
    int uid = geteuid(), gid = getegid();
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) { perror("unshare"); exit(0); }
    char map[64];
    int fd = open("/proc/self/setgroups", O_WRONLY); write(fd, "deny", 4); close(fd);
    fd = open("/proc/self/uid_map", O_WRONLY); sprintf(map, "0 %d 1", uid); write(fd, map, strlen(map)); close(fd);
    fd = open("/proc/self/gid_map", O_WRONLY); sprintf(map, "0 %d 1", gid); write(fd, map, strlen(map)); close(fd);
}

int main(int argc, char **argv) {
    const char *what = argv[1];
    char buffer[256] = {0};
#define IS(name) (strcmp(what, name) == 0)
    if (IS("ptrace-init")) return done(ptrace(PTRACE_ATTACH, 1, 0, 0));
    if (IS("mem-init")) return done(open("/proc/1/mem", O_RDWR));
    if (IS("environ-init")) { int fd = open("/proc/1/environ", O_RDONLY); return done(fd < 0 ? fd : read(fd, buffer, 255) > 0 ? 0 : -1); }
    if (IS("root-init")) return done(open("/proc/1/root/etc/passwd", O_RDONLY));
    if (IS("fd-init")) return done(open("/proc/1/fd/3", O_RDONLY));
    if (IS("cwd-init")) return done(chdir("/proc/1/cwd"));
    if (IS("pidfd-getfd")) { int fd = syscall(SYS_pidfd_open, 1, 0); return done(fd < 0 ? fd : syscall(SYS_pidfd_getfd, fd, 3, 0)); }
    if (IS("vm-readv")) { struct { void *base; size_t len; } l = {buffer, 8}, r = {(void *)0x400000, 8}; return done(syscall(SYS_process_vm_readv, 1, &l, 1, &r, 1, 0)); }
    if (IS("kill-parent")) return done(kill(getppid() == 0 ? atoi(argv[2]) : atoi(argv[2]), 0));
    if (IS("mount")) return done(mount("none", "/w", "tmpfs", 0, ""));
    if (IS("umount")) return done(umount2("/proc", MNT_DETACH));
    if (IS("remount-sys")) { own_user_namespace(); return done(mount("", "/proc/sys", "", MS_REMOUNT | MS_BIND, "")); }
    if (IS("uncover-sys")) { own_user_namespace(); return done(umount2("/proc/sys", MNT_DETACH)); }
    if (IS("fresh-proc")) { own_user_namespace(); if (unshare(CLONE_NEWPID) != 0) return done(-1); if (fork() == 0) { int m = mount("proc", "/w", "proc", 0, ""); if (m != 0) { done(-1); _exit(0); } int fd = open("/w/sys/kernel/core_pattern", O_WRONLY); done(fd); _exit(0); } wait(0); return 0; }
    if (IS("sysfs")) { own_user_namespace(); return done(mount("sysfs", "/w", "sysfs", 0, "")); }
    if (IS("block-device")) { own_user_namespace(); return done(mount("/dev/vda", "/w", "ext4", 0, "")); }
    if (IS("mknod")) return done(mknod("/w/null", S_IFCHR | 0666, makedev(1, 3)));
    if (IS("mknod-ns")) { own_user_namespace(); return done(mknod("/w/mem", S_IFCHR | 0666, makedev(1, 1))); }
    if (IS("mknod-disk")) return done(mknod("/w/disk", S_IFBLK | 0666, makedev(254, 0)));
    if (IS("chroot")) return done(chroot("/w"));
    if (IS("pivot")) return done(syscall(SYS_pivot_root, "/w", "/w"));
    if (IS("setns")) { int fd = open("/proc/1/ns/mnt", O_RDONLY); return done(fd < 0 ? fd : setns(fd, 0)); }
    if (IS("handle")) { int fd = open("/", O_RDONLY); struct { unsigned bytes; int type; unsigned char f[128]; } h = {8, 1, {2}}; return done(syscall(SYS_open_by_handle_at, fd, &h, O_RDONLY)); }
    if (IS("add-key")) return done(syscall(SYS_add_key, "user", "x", "y", 1, -4));
    if (IS("keyctl")) return done(syscall(SYS_keyctl, 0, -4, 0));
    if (IS("request-key")) return done(syscall(SYS_request_key, "user", "x", 0, 0));
    if (IS("io-uring")) { char p[256] = {0}; return done(syscall(SYS_io_uring_setup, 4, p)); }
    if (IS("bpf")) { char a[128] = {0}; return done(syscall(SYS_bpf, 0, a, sizeof a)); }
    if (IS("perf")) { char a[128] = {0}; return done(syscall(SYS_perf_event_open, a, 0, -1, -1, 0)); }
    if (IS("userfaultfd")) return done(syscall(SYS_userfaultfd, 0));
    if (IS("tiocsti")) return done(ioctl(0, TIOCSTI, "x"));
    if (IS("tiocsti-high")) return done(syscall(SYS_ioctl, 0, 0xffffffff00000000UL | TIOCSTI, "x"));
    if (IS("x32")) return done(syscall(0x40000000 | 39));
    if (IS("kexec")) return done(syscall(SYS_kexec_load, 0, 0, 0, 0));
    if (IS("module")) return done(syscall(SYS_init_module, buffer, 1, ""));
    if (IS("reboot")) return done(syscall(SYS_reboot, 0xfee1dead, 672274793, 0, 0));
    if (IS("swapon")) return done(syscall(SYS_swapon, "/w", 0));
    if (IS("syslog")) return done(syscall(SYS_syslog, 3, buffer, 255));
    if (IS("clock")) { struct timespec { long s, n; } t = {0, 0}; return done(syscall(SYS_clock_settime, 0, &t)); }
    if (IS("hostname")) return done(sethostname("x", 1));
    if (IS("iopl")) return done(syscall(SYS_iopl, 3));
    if (IS("setuid")) return done(setuid(12345));
    if (IS("packet")) return done(socket(17, SOCK_RAW, 0));
    if (IS("packet-ns")) { own_user_namespace(); if (unshare(CLONE_NEWNET) != 0) return done(-1); return done(socket(17, SOCK_RAW, 0)); }
    if (IS("vsock")) return done(socket(40, SOCK_STREAM, 0));
    if (IS("alg")) return done(socket(38, SOCK_SEQPACKET, 0));
    if (IS("abstract")) { int s = socket(AF_UNIX, SOCK_STREAM, 0); struct sockaddr_un a = {AF_UNIX, {0}}; strcpy(a.sun_path + 1, argv[2]); return done(connect(s, (void *)&a, 3 + strlen(argv[2]))); }
    if (IS("unix")) { int s = socket(AF_UNIX, SOCK_STREAM, 0); struct sockaddr_un a = {AF_UNIX, {0}}; strncpy(a.sun_path, argv[2], 100); return done(connect(s, (void *)&a, sizeof a)); }
    if (IS("tcp")) { int s = socket(AF_INET, SOCK_STREAM, 0); unsigned char a[16] = {2, 0, atoi(argv[2]) >> 8, atoi(argv[2]) & 255, 127, 0, 0, 1}; return done(connect(s, (void *)a, 16)); }
    if (IS("chroot-twice")) { own_user_namespace(); mkdir("/w/in", 0755); int fd = open("/", O_RDONLY); if (chroot("/w/in") != 0) return done(-1); fchdir(fd); for (int i = 0; i < 64; i++) chdir(".."); return done(open(argv[2], O_RDONLY)); }
    if (IS("cgroup-namespace")) { own_user_namespace(); return done(unshare(CLONE_NEWCGROUP)); }
    if (IS("cgroup-clone")) { long p = syscall(SYS_clone, CLONE_NEWUSER | CLONE_NEWCGROUP | SIGCHLD, 0, 0, 0, 0); if (p == 0) _exit(0); return done(p); }
    if (IS("cgroup-clone3")) { unsigned long a[11] = {CLONE_NEWUSER | CLONE_NEWCGROUP, 0, 0, 0, SIGCHLD}; long p = syscall(SYS_clone3, a, sizeof a); if (p == 0) _exit(0); return done(p); }
    if (IS("setuid-file")) { chmod(argv[0], 04755); return done(geteuid() == getuid() ? -1 : 0); }
    puts("unknown attempt");
    return 1;
}
"#;

/// The attempts, as a static program.
pub(crate) fn attempts() -> Vec<u8> {
    compiled(ATTEMPTS)
}

/// A source in C as a static program.
pub(crate) fn compiled(text: &str) -> Vec<u8> {
    let folder = temp();
    let source = folder.path().join("program.c");
    let program = folder.path().join("program");
    std::fs::write(&source, text).expect("a file");
    let status = Command::new("gcc")
        .args(["-w", "-O0", "-static", "-o"])
        .arg(&program)
        .arg(&source)
        .status()
        .expect("gcc");
    assert!(status.success());
    std::fs::read(program).expect("the program")
}

#[test]
fn no_system_call_leads_out() {
    let Some(lab) = Lab::embedded() else { return };
    let program = attempts();
    let secret = lab.folder.path().join("secret");
    std::fs::write(&secret, "secret").expect("a file");
    let name = format!("escape-{}", std::process::id());
    let address = {
        use std::os::linux::net::SocketAddrExt;
        std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name")
    };
    let _abstract = UnixListener::bind_addr(&address).expect("a socket");
    let path = lab.folder.path().join("s");
    let _unix = UnixListener::bind(&path).expect("a socket");
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = tcp.local_addr().expect("an address").port().to_string();
    let own = std::process::id().to_string();
    let (path, secret) = (path.display().to_string(), secret.display().to_string());
    let list: Vec<(&str, &str)> = [
        "ptrace-init",
        "mem-init",
        "environ-init",
        "root-init",
        "fd-init",
        "cwd-init",
        "pidfd-getfd",
        "vm-readv",
        "mount",
        "umount",
        "remount-sys",
        "uncover-sys",
        "fresh-proc",
        "sysfs",
        "block-device",
        "mknod",
        "mknod-ns",
        "mknod-disk",
        "chroot",
        "pivot",
        "setns",
        "handle",
        "add-key",
        "keyctl",
        "request-key",
        "io-uring",
        "bpf",
        "perf",
        "userfaultfd",
        "tiocsti",
        "tiocsti-high",
        "x32",
        "kexec",
        "module",
        "reboot",
        "swapon",
        "syslog",
        "clock",
        "hostname",
        "iopl",
        "setuid",
        "packet",
        "packet-ns",
        "vsock",
        "alg",
        "setuid-file",
    ]
    .into_iter()
    .map(|what| (what, ""))
    .chain([
        ("kill-parent", own.as_str()),
        ("abstract", &name),
        ("unix", &path),
        ("tcp", &port),
        ("chroot-twice", &secret),
    ])
    .collect();
    assert!(list.len() >= 25);
    let mut escaped = Vec::new();
    for (what, argument) in list {
        let outcome = lab.ours(&args(&["./try", what, argument]).program("w/try", &program));
        let said = outcome.stdout();
        if said.contains("escaped")
            || said.contains("unknown")
            || said.is_empty() && outcome.code() == 0
        {
            escaped.push(format!("{what}: {said:?} {:?}", outcome.stderr));
        }
    }
    assert!(escaped.is_empty(), "{escaped:#?}");
}

/// Scripts that say `escaped` if they get at something.
fn scripts(secret: &str) -> Vec<(&'static str, Case)> {
    vec![
        ("a path of the host", sh(&format!("cat {secret} && echo escaped"))),
        (
            "above the root",
            sh(&format!(
                "cat /../../../..{secret} && echo escaped; cd ..; cd ..; cd ..; cat .{secret} && echo escaped"
            )),
        ),
        ("a symlink of the tree", sh("cat l && echo escaped").link("w/l", secret)),
        (
            "a symlinked directory for an output",
            sh("ls /up/secret && echo escaped").link("up", "../../../../..").out(&["../up/x"]),
        ),
        (
            "the host's processes",
            sh("for p in /proc/[0-9]*; do grep -q cargo $p/comm && echo escaped; done"),
        ),
        ("the host's devices", sh("ls /dev | grep -qE 'vda|sda|mem|kmsg|fuse' && echo escaped")),
        (
            "kernel settings",
            sh(
                "echo x > /proc/sys/kernel/hostname && echo escaped; echo x > /proc/sys/kernel/core_pattern && echo escaped",
            ),
        ),
        ("sysrq", sh("echo h > /proc/sysrq-trigger && echo escaped")),
        ("the kernel's log", sh("dmesg && echo escaped; cat /proc/kmsg && echo escaped")),
        ("the memory of the machine", sh("dd if=/proc/kcore bs=1 count=1 && echo escaped")),
        ("what keeps us alive", sh("kill -9 1; sleep 0.1; kill -15 -1; echo still")),
        (
            "the environment of the runner",
            sh("cat /proc/1/environ | tr '\\0' '\\n' | grep -q STORE && echo escaped"),
        ),
        ("open files of the runner", sh("ls /proc/self/fd | grep -q '^[4-9]' && echo escaped")),
        ("memory of others through /proc", sh("ls /proc/1/map_files | grep -q . && echo escaped")),
        ("cgroups", sh("mkdir /c; mount -t cgroup2 none /c && echo escaped")),
        (
            "a file with the set-user-id bit",
            sh("cp /bin/busybox s; chmod 4755 s; ./s id -u | grep -qv '^1000$' && echo escaped")
                .property("unixUID", "1000"),
        ),
    ]
}

#[test]
fn no_script_leads_out() {
    let Some(lab) = Lab::embedded() else { return };
    let secret = lab.folder.path().join("secret");
    std::fs::write(&secret, "the secret").expect("a file");
    for (what, case) in scripts(&secret.display().to_string()) {
        let outcome = lab.ours(&case);
        // Ended from within is fine, too.
        let said = outcome.stdout.clone().unwrap_or_default();
        assert!(!said.contains("escaped") && !said.contains("the secret"), "{what}: {outcome:#?}");
        assert!(outcome.exit_status == 0, "{what}: {outcome:#?}");
    }
}

#[test]
fn nothing_can_be_written_into_the_store() {
    let Some(lab) = Lab::embedded() else { return };
    let case = sh("for i in 1 2 3; do echo broken > in; chmod 777 in; touch in; done; \
        dd if=/dev/zero of=/bin/busybox bs=1 count=1 conv=notrunc 2>/dev/null; true")
    .file("w/in", "fine");
    assert_eq!(lab.ours(&case).code(), 0);
    let again = lab.ours(&sh("cat in; stat -c '%a %Y' in").file("w/in", "fine"));
    assert_eq!(again.stdout(), "fine644 1321009871\n");
}

#[test]
fn a_read_only_mount_stays_so() {
    let Some(lab) = Lab::embedded() else { return };
    let folder = temp();
    std::fs::write(folder.path().join("f"), "host").expect("a file");
    let option = format!("--ro-bind-mount={}:/w/x", folder.path().display());
    let program = attempts();
    let case = sh(
        "echo broken > x/f; rm x/f; touch x/g; mount -o remount,rw /w/x; echo broken > x/f; true",
    )
    .option(&option)
    .program("w/try", &program);
    assert_eq!(lab.ours(&case).exit_status, 0);
    let mut text = String::new();
    std::fs::File::open(folder.path().join("f"))
        .expect("a file")
        .read_to_string(&mut text)
        .expect("text");
    assert_eq!(text, "host");
    assert!(!folder.path().join("g").exists());
}

#[test]
fn sandboxes_do_not_see_each_other() {
    let Some(lab) = Lab::embedded() else { return };
    let program = forerunner_tests::bin("buildbox-run");
    // Shared memory, message queues and sockets of one are not there for the other.
    let script = "echo x > /dev/shm/x; echo x > /tmp/x; echo ready; sleep 3";
    let (mut first, _files) = lab.command(&program, &sh(script).option("--no-logs-capture"));
    let mut first = first.stdout(std::process::Stdio::piped()).spawn().expect("a runner");
    let mut ready = [0; 6];
    first.stdout.as_mut().expect("output").read_exact(&mut ready).expect("a line");
    let outcome = lab.ours(&sh("ls /dev/shm /tmp; ps | grep -c '[s]leep 3'"));
    assert_eq!(outcome.stdout(), "/dev/shm:\n\n/tmp:\n0\n", "{outcome:#?}");
    first.kill().expect("killed");
    first.wait().expect("an end");
}
