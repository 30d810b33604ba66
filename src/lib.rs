//! The PHP extension `celery`: a native Celery client, and a drop-in replacement for celery-php.
//!
//! The extension implements the behaviour of PHP; that of Celery is in `celery-protocol` and
//! `celery-client`. Nothing here is public: PHP looks up one symbol in the shared object,
//! `get_module`.
//!
//! # Layout
//!
//! * `ffi`: everything that touches PHP's C interface; the only folder with `unsafe`.
//! * `classes`: the PHP classes: those of the API for new code, and in `dropin` those that replace
//!   celery-php's. `client`: the settings of a `Celery\Client`, which what it makes holds.
//! * `connection`: celery-php's connection arguments as an endpoint; `registry`: the connections of
//!   a request, by name.
//! * `values`: PHP values to JSON and back, and the place of a value that cannot be sent.
//! * `post`: from `PostTask`'s arguments to a message; `process`: the sender's fields of a message.
//! * `broker`, `results`: calls to the two servers; `replies`: results that RabbitMQ carries;
//!   `control`: calls to the workers; `messages`: result documents; `news`: what a wait brings;
//!   `errors`: exceptions.
//! * `pool`: the idle connections, which outlive requests; `pipeline`: posts with outstanding
//!   answers.
//! * `settings`: php.ini; `lifecycle`: start and stop of module and requests.

#[cfg(windows)]
compile_error!("Windows is not supported: the extension needs the sockets and signals of Unix");

mod broker;
mod classes;
mod client;
mod connection;
mod control;
mod errors;
mod ffi;
mod gather;
mod lifecycle;
mod messages;
mod news;
mod pipeline;
mod pool;
mod post;
mod process;
mod recorder;
mod registry;
mod replies;
mod results;
mod routes;
mod sending;
mod settings;
mod values;
