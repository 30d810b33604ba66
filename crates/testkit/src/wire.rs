//! A wire between two network namespaces of its own; while it is cut, it drops packets.
//!
//! While the wire is cut, no FIN and no RST arrives, and no data is acknowledged. It behaves like a
//! pulled plug, which a proxy cannot imitate. Making a wire needs root. The machine's own network
//! is not touched: both ends and their addresses exist only in the namespaces.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Error;
use crate::ports::find_program;

/// The address of the far end; both addresses are in a network reserved for documentation.
const FAR: &str = "192.0.2.2";

/// The number of wires made so far, which gives each wire of a process its own name.
static WIRES: AtomicUsize = AtomicUsize::new(0);

/// Two namespaces and the wire between them. Dropping it removes them.
#[derive(Debug)]
pub struct Wire {
    name: String,
}

impl Wire {
    /// The address of the near end, for a server there.
    pub const ADDRESS: &str = "192.0.2.1";

    /// Makes the namespaces and joins them.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Failed`] without root, and [`Error::Missing`] without `ip`.
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

    /// Returns the words of the command that starts a program at the near end.
    #[must_use]
    pub fn near(&self) -> Vec<String> {
        self.starter("near")
    }

    /// Returns the words of the command that starts a program at the far end.
    #[must_use]
    pub fn far(&self) -> Vec<String> {
        self.starter("far")
    }

    /// Drops every packet from now on.
    ///
    /// # Errors
    ///
    /// Fails like [`Wire::lay`].
    pub fn cut(&self) -> Result<(), Error> {
        ip(&["-n", &self.namespace("near"), "link", "set", "wire", "down"])
    }

    /// Lets packets through again.
    ///
    /// # Errors
    ///
    /// Fails like [`Wire::lay`].
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
            // An error means that the namespace does not exist, so nothing is left to remove.
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
