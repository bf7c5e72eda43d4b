//! Processes that take orders: one JSON object a line on standard input, one answered on standard output.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write},
    process::{ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use tokio::sync::mpsc;

use super::Fallible;

/// Kernel ticks a second of `/proc/PID/stat`.
const TICKS_PER_SECOND: u64 = 100;

/// A process of this very program that takes orders; it ends with its input.
pub struct Child {
    process: std::process::Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Child {
    /// Starts one with these arguments; gives what it says first.
    ///
    /// # Errors
    /// It does not start, or ends at once.
    pub fn start(arguments: &[String]) -> Fallible<(Self, Value)> {
        let mut process = Command::new(env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = process.stdin.take().ok_or("a child has an input")?;
        let answers = BufReader::new(process.stdout.take().ok_or("a child has an output")?);
        let mut child = Self { process, orders, answers };
        let first = child.hear()?;
        Ok((child, first))
    }

    /// Gives an order and waits until it is carried out.
    ///
    /// # Errors
    /// The child is gone, or failed.
    pub fn order(&mut self, order: &Value) -> Fallible<Value> {
        self.begin(order)?;
        self.hear()
    }

    /// Gives an order without waiting.
    ///
    /// # Errors
    /// The child is gone.
    pub fn begin(&mut self, order: &Value) -> Fallible<()> {
        writeln!(self.orders, "{order}")?;
        Ok(())
    }

    /// What it answers next.
    ///
    /// # Errors
    /// The child is gone, or failed.
    pub fn hear(&mut self) -> Fallible<Value> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err("a child of the bench ended early".into());
        }
        let answer: Value = serde_json::from_str(&line)?;
        match answer.get("fault") {
            Some(fault) => Err(format!("a child of the bench failed: {fault}").into()),
            None => Ok(answer),
        }
    }

    /// Bytes of memory it holds.
    ///
    /// # Errors
    /// It is gone.
    pub fn resident_bytes(&self) -> Fallible<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
        let kib: u64 = line.split_whitespace().nth(1).ok_or("no VmRSS")?.parse()?;
        Ok(kib * 1024)
    }

    /// Processor time it used so far.
    ///
    /// # Errors
    /// It is gone.
    pub fn processor_time(&self) -> Fallible<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // Behind the name, which may hold anything, fields 3 and on.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks =
            |field: usize| -> Fallible<u64> { Ok(fields.get(field - 3).ok_or("a short stat")?.parse()?) };
        Ok(Duration::from_millis((ticks(14)? + ticks(15)?) * 1_000 / TICKS_PER_SECOND))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It is our own child and holds nothing worth keeping.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The child's side: orders as they come.
pub struct Orders(mpsc::UnboundedReceiver<Value>);

impl Orders {
    /// Reads orders on a thread of its own.
    pub fn listen() -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        thread::spawn(move || {
            for line in io::stdin().lines() {
                let Some(order) = line.ok().and_then(|line| serde_json::from_str(&line).ok()) else { return };
                if tell.send(order).is_err() {
                    return;
                }
            }
        });
        Self(told)
    }

    /// The next order; none: the parent is gone.
    pub async fn next(&mut self) -> Option<Value> {
        self.0.recv().await
    }

    /// Answers.
    ///
    /// # Errors
    /// The parent is gone.
    pub fn answer(&self, answer: &Value) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()
    }
}
