//! The loop of a shim: one thread that waits for the program, its output, its notices and the agent.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use hob_core::{Clock, Digest};
use hob_wire::{Confinement, RecordSource, StopSignal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, kill_process_group, pidfd_open,
    set_child_subreaper, setsid, wait,
};
use tokio::time::Instant;

use super::agent::Agent;
use super::notify::{Notified, NotifySocket};
use super::spec::{
    Ended, FromShim, Line, ProcessId, SOCKET_FILE, SPEC_FILE, SPOOL_FILE, STATE_FILE, ShimSpec, Status,
    ToShim, read_json, write_json, write_json_for_now,
};
use super::spool::Spool;
use super::start::{self, Started};
use super::{LISTENING, notify};
use crate::lines::Splitter;

/// How long a dead program's pipes are read on, when something holds them open.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often the folder is looked for.
const FOLDER_EVERY: Duration = Duration::from_secs(2);
const READ_BYTES: usize = 64 * 1024;

/// Runs one instance, from its folder, until it is released.
pub(super) fn run(folder: &Path) -> io::Result<()> {
    std::env::set_current_dir(folder)?;
    let mut spec: ShimSpec = read_json(Path::new(SPEC_FILE))?;
    let digest = spec.digest();
    // Only fails for one that leads a session already.
    let _ = setsid();
    set_child_subreaper(Some(getpid()))?;
    // Below the folder, by a path short enough for a socket.
    let _ = std::fs::remove_file(SOCKET_FILE);
    let listener = UnixListener::bind(SOCKET_FILE)?;
    listener.set_nonblocking(true)?;
    let statsd = UdpSocket::bind(("127.0.0.1", 0))?;
    let notify = NotifySocket::open()?;
    spec.launch.env.insert("STATSD_PORT".to_owned(), statsd.local_addr()?.port().to_string());
    spec.launch.env.insert("NOTIFY_SOCKET".to_owned(), notify.name.clone());
    let spool = File::options().read(true).write(true).create(true).truncate(true).open(SPOOL_FILE)?;
    let mut shim = Shim::new(digest, Spool::new(Some(spool)), statsd)?;
    write_json_for_now(Path::new(STATE_FILE), &shim.status)?;
    match start::start(&spec.launch) {
        Ok(started) => shim.began(started)?,
        Err(why) => shim.status.ended = Some(Ended::NotStarted(why)),
    }
    write_json_for_now(Path::new(STATE_FILE), &shim.status)?;
    // An agent that is gone by now is followed by another, which looks for the socket itself.
    let _ = io::stdout().write_all(LISTENING.as_bytes());
    shim.serve(&listener, &notify)
}

/// What a shim is about.
struct Shim {
    clock: Clock,
    status: Status,
    spool: Spool,
    statsd: UdpSocket,
    agent: Option<Agent>,
    program: Option<Program>,
    /// How it ended, while its last words are read.
    ending: Option<(Ended, Instant)>,
    stop_at: Option<Instant>,
    is_released: bool,
}

/// A running program.
struct Program {
    id: ProcessId,
    first: Option<u32>,
    handle: std::os::fd::OwnedFd,
    groups: crate::confine::cgroup::Groups,
    outputs: [Output; 2],
}

struct Output {
    file: Option<File>,
    splitter: Splitter,
    source: RecordSource,
}

impl Shim {
    fn new(spec: Digest, spool: Spool, statsd: UdpSocket) -> io::Result<Self> {
        let clock = Clock::system();
        let own = ProcessId::of(std::process::id()).ok_or_else(|| io::Error::other("/proc is not there"))?;
        let status = Status {
            spec,
            shim: own,
            program: None,
            started: clock.now(),
            ended: None,
            out_of_memory: false,
            last_line: 0,
            acknowledged: 0,
            notified: Notified::default(),
            confinement: Confinement::default(),
            groups: Default::default(),
        };
        Ok(Self {
            clock,
            status,
            spool,
            statsd,
            agent: None,
            program: None,
            ending: None,
            stop_at: None,
            is_released: false,
        })
    }

    fn began(&mut self, started: Started) -> io::Result<()> {
        let Started { program, first, groups, confinement, stdout, stderr } = started;
        self.status.program = Some(program);
        self.status.confinement = confinement;
        self.status.groups.clone_from(&groups.folders);
        let pid = process(program.pid).ok_or(io::ErrorKind::NotFound)?;
        let handle = pidfd_open(pid, PidfdFlags::empty())?;
        let output = |file: File, source| -> io::Result<Output> {
            rustix::io::ioctl_fionbio(&file, true)?;
            Ok(Output { file: Some(file), splitter: Splitter::default(), source })
        };
        let outputs = [output(stdout, RecordSource::Stdout)?, output(stderr, RecordSource::Stderr)?];
        self.program = Some(Program { id: program, first, handle, groups, outputs });
        Ok(())
    }

    fn serve(&mut self, listener: &UnixListener, notify: &NotifySocket) -> io::Result<()> {
        let mut look_at = Instant::now() + FOLDER_EVERY;
        loop {
            self.wait_for_news(listener, notify, look_at)?;
            if let Ok((stream, _)) = listener.accept() {
                self.spool.rewind();
                self.agent = Agent::greet(stream, &self.statsd, &self.status).ok();
            }
            self.read_outputs();
            self.hear(notify);
            self.reap();
            self.attend_agent();
            self.keep_time();
            if Instant::now() >= look_at {
                look_at = Instant::now() + FOLDER_EVERY;
                // Nobody can ask for it any more: it ends with its program.
                if std::fs::metadata(SPEC_FILE).is_err() {
                    self.kill_all();
                    self.kill_orphans();
                    self.program.iter().for_each(|program| program.groups.remove());
                    return Ok(());
                }
            }
            if self.is_released {
                return Ok(());
            }
        }
    }

    /// Waits until anything has happened, or something is due.
    fn wait_for_news(
        &self,
        listener: &UnixListener,
        notify: &NotifySocket,
        look_at: Instant,
    ) -> io::Result<()> {
        let mut fds = vec![PollFd::new(listener, PollFlags::IN), PollFd::new(&notify.socket, PollFlags::IN)];
        if let Some(program) = &self.program {
            if self.ending.is_none() {
                fds.push(PollFd::from_borrowed_fd(program.handle.as_fd(), PollFlags::IN));
            }
            let open = program.outputs.iter().filter_map(|output| output.file.as_ref());
            fds.extend(open.map(|file| PollFd::new(file, PollFlags::IN)));
        }
        if let Some(agent) = &self.agent {
            let out = if agent.has_unsent() { PollFlags::OUT } else { PollFlags::empty() };
            fds.push(PollFd::new(&agent.stream, PollFlags::IN | out));
        }
        let due = [Some(look_at), self.stop_at, self.ending.as_ref().map(|(_, until)| *until)];
        let due = due.into_iter().flatten().min().unwrap_or(look_at);
        // A millisecond more, so that what is due is due when it is looked at.
        let wait = due.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        let wait = Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: wait.subsec_nanos().into() };
        match poll(&mut fds, Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn read_outputs(&mut self) {
        let Some(program) = &mut self.program else { return };
        let mut buffer = vec![0; READ_BYTES];
        for output in &mut program.outputs {
            let Some(file) = &mut output.file else { continue };
            let lines = match file.read(&mut buffer) {
                Ok(0) => {
                    output.file = None;
                    std::mem::take(&mut output.splitter).finish().into_iter().collect()
                }
                Ok(size) => output.splitter.push(&buffer[..size]),
                Err(_) => continue,
            };
            for text in lines.into_iter().filter(|line| !line.is_empty()) {
                keep(&mut self.spool, &self.clock, output.source, text);
            }
        }
        self.status.last_line = self.spool.last_number();
    }

    fn hear(&mut self, notify: &NotifySocket) {
        let before = self.status.notified.clone();
        while let Ok(Some(message)) = notify.receive() {
            if Self::is_own(&message) {
                self.status.notified.hear(&message.text);
            } else {
                self.status.notified.refused += 1;
            }
        }
        if let (Some(at), true) = (self.stop_at, self.status.notified.extensions > before.extensions) {
            let more = Duration::from_micros(self.status.notified.extend_usec);
            self.stop_at = Some(at.max(Instant::now() + more));
        }
        if self.status.notified != before {
            self.tell_status();
        }
    }

    /// Whether a message comes from the program or from what it started.
    fn is_own(message: &notify::Message) -> bool {
        let shim = std::process::id();
        let mut at = message.pid;
        for _ in 0..64 {
            match at {
                Some(pid) if pid == shim => return true,
                Some(pid) => at = parent_of(pid),
                None => break,
            }
        }
        false
    }

    /// Waits for whatever of its children has ended; the program's end is the instance's.
    fn reap(&mut self) {
        while let Ok(Some((pid, how))) = wait(WaitOptions::NOHANG) {
            let pid = u32::try_from(pid.as_raw_nonzero().get()).unwrap_or(0);
            let Some(program) = self.program.as_ref().filter(|program| program.id.pid == pid) else {
                continue;
            };
            let ended = match (how.exit_status(), how.terminating_signal()) {
                (Some(status), _) => Ended::Status(status),
                (None, signal) => Ended::Signal(signal.unwrap_or(0)),
            };
            self.status.out_of_memory = program.groups.ran_out_of_memory();
            self.ending = Some((ended, Instant::now() + LAST_WORDS));
            self.stop_at = None;
            self.kill_all();
            break;
        }
    }

    fn attend_agent(&mut self) {
        let Some(agent) = &mut self.agent else { return };
        let (orders, is_open) = agent.read();
        for order in orders {
            self.obey(order);
        }
        let Some(agent) = &mut self.agent else { return };
        if self.status.ended.is_some() && self.spool.dropped() > 0 {
            let text = format!("{} lines had no room and were dropped", self.spool.dropped());
            keep(&mut self.spool, &self.clock, RecordSource::Agent, text);
            self.status.last_line = self.spool.last_number();
        }
        let mut is_there = is_open;
        while is_there && agent.has_room() {
            let Some(line) = self.spool.next() else { break };
            agent.send(&FromShim::Line(line.clone()));
            // What is sent makes room for more, until the agent is the slower one.
            if !agent.has_room() {
                is_there = agent.flush();
            }
        }
        if !is_there || !agent.flush() {
            self.agent = None;
        }
    }

    fn obey(&mut self, order: ToShim) {
        match order {
            ToShim::Ack(number) => {
                self.spool.acknowledge(number);
                self.status.acknowledged = number;
            }
            ToShim::Stop { signal, timeout_ms } => {
                if self.stop_at.is_none() && self.ending.is_none() {
                    self.stop_at = Some(Instant::now() + Duration::from_millis(timeout_ms));
                    self.signal(signal_of(signal));
                }
            }
            ToShim::Kill { pid } => {
                if self.status.program.is_some_and(|program| program.pid == pid) {
                    self.signal(Signal::KILL);
                }
            }
            ToShim::Release => self.is_released |= self.status.ended.is_some(),
        }
    }

    /// Does what has become due.
    fn keep_time(&mut self) {
        let now = Instant::now();
        if self.stop_at.is_some_and(|at| at <= now) {
            self.stop_at = None;
            let text = "it did not end in its time and is killed".to_owned();
            keep(&mut self.spool, &self.clock, RecordSource::Agent, text);
            self.signal(Signal::KILL);
        }
        let is_silent = self
            .program
            .as_ref()
            .is_none_or(|program| program.outputs.iter().all(|output| output.file.is_none()));
        if let Some((ended, _)) = self.ending.take_if(|(_, until)| is_silent || *until <= now) {
            self.status.ended = Some(ended);
            self.status.last_line = self.spool.last_number();
            self.kill_orphans();
            if let Some(program) = self.program.take() {
                program.groups.remove();
            }
            // Told all the same: an agent that is there needs no file.
            let _ = write_json(Path::new(STATE_FILE), &self.status);
            self.tell_status();
        }
    }

    fn tell_status(&mut self) {
        if let Some(agent) = &mut self.agent {
            agent.send(&FromShim::Status(Box::new(self.status.clone())));
        }
    }

    /// Signals the program and its group. Before it leads one, itself.
    fn signal(&self, signal: Signal) {
        let running = self.program.as_ref().filter(|_| self.ending.is_none());
        let Some(pid) = running.and_then(|program| process(program.id.pid)) else { return };
        if kill_process_group(pid, signal).is_err() {
            // It ended just now otherwise.
            let _ = kill_process(pid, signal);
        }
    }

    /// Kills the program and everything that it started, as far as that can be known here.
    fn kill_all(&self) {
        let Some(program) = &self.program else { return };
        if let Some(pid) = process(program.id.pid) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        start::kill(program.first);
        program.groups.kill();
        // What began a session of its own and lost its parent has become a child of this process.
        for pid in children() {
            start::kill(Some(pid));
        }
    }
}

/// How often what was left is looked for once more, since children of the killed come up.
const ORPHAN_TRIES: u32 = 100;
const ORPHAN_PAUSE: Duration = Duration::from_millis(5);

impl Shim {
    /// Kills what was left, and what that leaves, until nothing is.
    fn kill_orphans(&self) {
        for _ in 0..ORPHAN_TRIES {
            while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
            let left = children();
            if left.is_empty() {
                return;
            }
            left.into_iter().for_each(|pid| start::kill(Some(pid)));
            std::thread::sleep(ORPHAN_PAUSE);
        }
    }
}

fn keep(spool: &mut Spool, clock: &Clock, source: RecordSource, text: String) {
    let time = clock.now();
    spool.push(|number, dropped| Line { number, time, source, text, dropped });
}

fn process(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok().filter(|parent| *parent != 0)
}

fn children() -> Vec<u32> {
    let own = std::process::id();
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let all = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    all.filter(|pid| parent_of(*pid) == Some(own)).collect()
}

fn signal_of(signal: StopSignal) -> Signal {
    match signal {
        StopSignal::Term => Signal::TERM,
        StopSignal::Int => Signal::INT,
        StopSignal::Quit => Signal::QUIT,
        StopSignal::Hup => Signal::HUP,
        StopSignal::Usr1 => Signal::USR1,
        StopSignal::Usr2 => Signal::USR2,
    }
}
