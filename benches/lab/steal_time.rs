//! Steal time: processor time that the host of a virtual machine gave to others. In: `/proc/stat`. Out: a share.

use std::fs;

use anyhow::Context;

/// Steal time since a point in time.
pub struct StealTime(Ticks);

/// Ticks of 10 ms of all processors.
struct Ticks {
    steal: f64,
    /// Busy and stolen ticks, that is, all except idle ones.
    wanted: f64,
}

impl StealTime {
    /// Starts measuring.
    pub fn from_now() -> anyhow::Result<Self> {
        Ok(Self(Ticks::now()?))
    }

    /// Share of the processor time that the machine wanted since then, 0 to 1.
    pub fn share(&self) -> anyhow::Result<f64> {
        let now = Ticks::now()?;
        let wanted = now.wanted - self.0.wanted;
        Ok(if wanted > 0.0 { (now.steal - self.0.steal) / wanted } else { 0.0 })
    }
}

impl Ticks {
    fn now() -> anyhow::Result<Self> {
        const STAT: &str = "/proc/stat";
        let text = fs::read_to_string(STAT).context(STAT)?;
        let words = text.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1);
        let ticks: Vec<f64> = words.map(str::parse).collect::<Result<_, _>>().context(STAT)?;
        // user, nice, system, idle, iowait, irq, softirq, steal; guests are part of user.
        let [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = ticks[..] else {
            anyhow::bail!("{STAT}: {text}");
        };
        Ok(Self { steal, wanted: user + nice + system + irq + softirq + steal })
    }
}
