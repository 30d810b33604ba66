//! A wire between two network namespaces of one's own, which swallows packets while it is cut.
//!
//! No FIN and no RST comes, and nothing is acknowledged: what a pulled plug does, and what no proxy can. Needs root. The
//! machine's own network is not touched: both ends, and their addresses, are inside the namespaces alone.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Error;
use crate::ports::find_program;

/// The far end's address; both are of a net that is kept for documentation.
const FAR: &str = "192.0.2.2";

/// Tells the wires of a process apart.
static WIRES: AtomicUsize = AtomicUsize::new(0);

/// Two namespaces and the wire; dropped, they are removed.
#[derive(Debug)]
pub struct Wire {
    name: String,
}

impl Wire {
    /// The near end's address, for a server there.
    pub const ADDRESS: &str = "192.0.2.1";

    /// Makes the namespaces and joins them.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] without root, and [`Error::Missing`] without `ip`.
    pub fn lay() -> Result<Self, Error> {
        let number = WIRES.fetch_add(1, Ordering::Relaxed);
        let name = format!("testkit-{}-{number}", std::process::id());
        let wire = Self { name };
        let (near, far) = (wire.namespace("near"), wire.namespace("far"));
        ip(&["netns", "add", &near])?;
        ip(&["netns", "add", &far])?;
        ip(&[
            "-n", &near, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns",
            &far,
        ])?;
        for (namespace, address) in [(&near, Self::ADDRESS), (&far, FAR)] {
            let address = format!("{address}/30");
            ip(&["-n", namespace, "address", "add", &address, "dev", "wire"])?;
            ip(&["-n", namespace, "link", "set", "wire", "up"])?;
            ip(&["-n", namespace, "link", "set", "lo", "up"])?;
        }
        Ok(wire)
    }

    /// What starts a program at the near end, by its words.
    #[must_use]
    pub fn near(&self) -> Vec<String> {
        self.starter("near")
    }

    /// What starts a program at the far end.
    #[must_use]
    pub fn far(&self) -> Vec<String> {
        self.starter("far")
    }

    /// Swallows every packet from now on.
    ///
    /// # Errors
    ///
    /// As [`Wire::lay`].
    pub fn cut(&self) -> Result<(), Error> {
        ip(&["-n", &self.namespace("near"), "link", "set", "wire", "down"])
    }

    /// Lets packets through again.
    ///
    /// # Errors
    ///
    /// As [`Wire::lay`].
    pub fn mend(&self) -> Result<(), Error> {
        ip(&["-n", &self.namespace("near"), "link", "set", "wire", "up"])
    }

    fn namespace(&self, end: &str) -> String {
        format!("{}-{end}", self.name)
    }

    fn starter(&self, end: &str) -> Vec<String> {
        let namespace = self.namespace(end);
        ["ip", "netns", "exec", &namespace]
            .map(str::to_owned)
            .to_vec()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for end in ["near", "far"] {
            // Without it there is nothing to remove.
            let _gone = ip(&["netns", "delete", &self.namespace(end)]);
        }
    }
}

fn ip(words: &[&str]) -> Result<(), Error> {
    let output = Command::new(find_program("ip", "iproute2")?)
        .args(words)
        .output()
        .map_err(Error::io("running ip"))?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(Error::Failed(format!("ip {}: {errors}", words.join(" "))))
}
