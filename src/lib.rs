//! The PHP extension `celery`: a native Celery client, and a drop-in for celery-php.
//!
//! PHP's semantics live here, Celery's in `celery-protocol` and `celery-client`. Nothing here is public: PHP looks up
//! one symbol, `get_module`, in the shared object.
//!
//! # Layout
//!
//! * `ffi`: everything that touches PHP's C interface; the only folder with `unsafe`.
//! * `classes`: the classes PHP sees – the clients, `AsyncResult`, the exceptions.
//! * `connection`: celery-php's connection arguments as an endpoint; `registry`: the connections of a request, by name.
//! * `values`: PHP values to JSON and back, and where a value stands that cannot be sent.
//! * `post`: from `PostTask`'s arguments to a message; `process`: what a message says of its sender.
//! * `broker`, `results`: calls to the two servers; `messages`: what comes back; `errors`: what goes wrong.
//! * `pool`: the connections at rest, outliving requests; `pipeline`: posts whose answers are still to come.
//! * `settings`: php.ini; `lifecycle`: start and stop of module and requests.

mod broker;
mod classes;
mod connection;
mod errors;
mod ffi;
mod lifecycle;
mod messages;
mod pipeline;
mod pool;
mod post;
mod process;
mod registry;
mod results;
mod settings;
mod values;
