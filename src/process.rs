//! What a message says of its sender. The process's id is asked each time: PHP forks.

use std::sync::{Mutex, OnceLock, PoisonError};

use uuid::Uuid;

/// `php<pid>@<host>`, as Python's clients are `gen<pid>@<host>`.
pub(crate) fn origin() -> String {
    static HOST: OnceLock<String> = OnceLock::new();
    let host = HOST.get_or_init(|| {
        rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned()
    });
    format!("php{}@{host}", std::process::id())
}

/// One UUID a process: where it would await answers of `rpc://`.
pub(crate) fn reply_to() -> String {
    static OWN: Mutex<Option<(u32, String)>> = Mutex::new(None);
    let pid = std::process::id();
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    match &*own {
        Some((owner, id)) if *owner == pid => id.clone(),
        _ => {
            let id = new_id();
            *own = Some((pid, id.clone()));
            id
        }
    }
}

/// A random id, which nobody can guess.
pub(crate) fn new_id() -> String {
    Uuid::new_v4().to_string()
}
