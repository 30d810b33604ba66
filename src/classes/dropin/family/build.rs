//! The connections of clients: the constructors, and `BuildConnection()`, which a subclass may
//! override.
//!
//! The result backend is the one that the code names, otherwise php.ini's `celery.result_backend`,
//! otherwise the broker. In the last case the client has no backend of its own. Nothing here
//! connects.

use std::rc::Rc;

use ext_php_rs::types::Zval;

use super::client::Client;
use crate::classes::dropin::api::Api;
use crate::connection::Connection;
use crate::connection::details::Details;
use crate::ffi::call::Call;
use crate::ffi::class::{Param, optional, required};
use crate::ffi::throw::{Kind, Thrown};
use crate::ffi::value;
use crate::{registry, settings, values};

/// Returns the connection arguments. Traces hide all of them: if the order is wrong, any of them
/// may hold a URL, a password or a key's passphrase.
pub(super) fn connection_parameters(persistent_messages: bool) -> Vec<Param> {
    let mut parameters = vec![
        required("host"),
        // These three parameters may be left out only after a URL.
        optional("login", "null"),
        optional("password", "null"),
        optional("vhost", "null"),
        optional("exchange", "'celery'"),
        optional("binding", "'celery'"),
        optional("port", "5672"),
        optional("connector", "false"),
    ];
    if persistent_messages {
        parameters.push(optional("persistent_messages", "false"));
    }
    parameters.push(optional("result_expire", "0"));
    parameters.push(optional("ssl_options", "[]"));
    parameters.into_iter().map(Param::sensitive).collect()
}

/// Returns the names of the constructor's parameters, which are the keys of the array that
/// describes a connection.
fn parameter_names(persistent_messages: bool) -> impl Iterator<Item = (usize, &'static str)> {
    let parameters = connection_parameters(persistent_messages);
    parameters
        .into_iter()
        .map(|parameter| parameter.name())
        .enumerate()
}

pub(super) fn construct(call: &mut Call<'_>) -> Result<(), Thrown> {
    construct_from_arguments(call, Api::DropIn, true)
}

pub(super) fn construct_namespaced(call: &mut Call<'_>) -> Result<(), Thrown> {
    construct_from_arguments(call, Api::Namespaced, false)
}

fn construct_from_arguments(
    call: &mut Call<'_>,
    api: Api,
    persistent_messages: bool,
) -> Result<(), Thrown> {
    require_arguments(call)?;
    if call.overrides("BuildConnection")? {
        let given = parameter_names(persistent_messages).filter_map(|(index, name)| {
            Some((
                value::string(name.as_bytes()),
                call.argument(index)?.shallow_clone(),
            ))
        });
        let given: Vec<(Zval, Zval)> = given.collect();
        let details = value::map(given)?;
        build_by_override(call, api, &details, &details)?;
        return prefer_configured_backend(call);
    }
    let details = Details::from_arguments(call, persistent_messages)?;
    build_both(call, api, &details, None)
}

/// The number of arguments that celery-php requires. After a URL, which is enough to connect, they
/// may be left out.
const REQUIRED: usize = 4;

/// Refuses a call that leaves out `$login`, `$password` or `$vhost` without a URL to replace them.
fn require_arguments(call: &Call<'_>) -> Result<(), Thrown> {
    let given = call.count();
    if given >= REQUIRED {
        return Ok(());
    }
    let url = match call.argument(0) {
        Some(host) if value::bytes(host).is_some_and(|host| !host.is_empty()) => {
            values::text(host)?
        }
        Some(host) if host.is_object() => values::text(host)?,
        // Without a host, the URL of php.ini counts, if there is one.
        _ => settings::broker_url(),
    };
    if url.is_some_and(|url| url.contains("://")) {
        return Ok(());
    }
    Err(Thrown::new(
        Kind::ArgumentCount,
        format!(
            "Too few arguments, {given} passed and at least {REQUIRED} expected: $host is not a URL, so $login, \
             $password and $vhost must follow it (null where there is none). Or pass a URL alone, such as \
             redis://localhost:6379/0."
        ),
    ))
}

pub(super) fn construct_advanced(call: &mut Call<'_>) -> Result<(), Thrown> {
    construct_from_arrays(call, Api::DropIn)
}

pub(super) fn construct_advanced_namespaced(call: &mut Call<'_>) -> Result<(), Thrown> {
    construct_from_arrays(call, Api::Namespaced)
}

fn construct_from_arrays(call: &mut Call<'_>, api: Api) -> Result<(), Thrown> {
    // As in celery-php, an empty value means the broker's connection.
    let backend = call.argument(1).filter(|backend| backend.coerce_to_bool());
    if let (true, Some(broker)) = (call.overrides("BuildConnection")?, call.argument(0)) {
        build_by_override(call, api, broker, backend.unwrap_or(broker))?;
        return match backend {
            Some(_) => Ok(()),
            None => prefer_configured_backend(call),
        };
    }
    let broker = Details::from_array(call.argument(0), "$broker_connection")?;
    let backend = match backend {
        Some(_) => Some(Details::from_array(backend, "$backend_connection")?),
        None => None,
    };
    build_both(call, api, &broker, backend.as_ref())
}

/// Lets a subclass's `BuildConnection()` build both connections, as celery-php's constructors do.
fn build_by_override(
    call: &mut Call<'_>,
    api: Api,
    broker: &Zval,
    backend: &Zval,
) -> Result<(), Thrown> {
    call.state::<Client>()?.api = api;
    for (details, is_backend) in [(broker, false), (backend, true)] {
        let mut flag = Zval::new();
        flag.set_bool(is_backend);
        call.invoke("BuildConnection", vec![details.shallow_clone(), flag])?;
    }
    Ok(())
}

/// Uses the backend of php.ini, otherwise the broker, if the code names no backend. A subclass
/// names one by building its backend for another place than its broker.
fn prefer_configured_backend(call: &mut Call<'_>) -> Result<(), Thrown> {
    let client = call.state::<Client>()?;
    let is_named = match (&client.broker, &client.backend) {
        (Some(broker), Some(backend)) => broker.endpoint.identity() != backend.endpoint.identity(),
        (_, backend) => backend.is_some(),
    };
    let broker = client.broker.clone();
    if !is_named && let Some(configured) = configured_backend(broker.as_deref())? {
        call.state::<Client>()?.backend = Some(configured);
    }
    Ok(())
}

/// Returns the backend of php.ini, if any, and remembers it for stored results.
fn configured_backend(broker: Option<&Connection>) -> Result<Option<Rc<Connection>>, Thrown> {
    let configured = Connection::configured_backend(broker)?;
    if let Some(backend) = &configured {
        registry::remember(backend);
    }
    Ok(configured)
}

/// Returns the backend that the code names, or `None` if that is the broker itself.
fn named_backend(details: &Details, broker: &Connection) -> Result<Option<Rc<Connection>>, Thrown> {
    let backend = details.connect_later(broker.prefix_of_results())?;
    let shown = backend.to_string();
    let backend = backend.backend_beside(broker).map_err(|why| {
        Thrown::celery(format!("The result backend {shown} cannot be used: {why}."))
    })?;
    if let Some(backend) = &backend {
        registry::remember(backend);
    }
    Ok(backend)
}

fn build_both(
    call: &mut Call<'_>,
    api: Api,
    broker: &Details,
    backend: Option<&Details>,
) -> Result<(), Thrown> {
    let broker = broker.connect_later(None)?;
    let backend = match backend {
        Some(details) => named_backend(details, &broker)?,
        None => configured_backend(Some(&broker))?,
    };
    registry::remember(&broker);
    *call.state::<Client>()? = Client {
        api,
        broker: Some(broker),
        backend,
    };
    Ok(())
}

/// Implements `BuildConnection($connection_details, $is_backend = false)`, which subclasses of
/// `CeleryAbstract` call in their constructors.
pub(super) fn build_connection(call: &mut Call<'_>) -> Result<(), Thrown> {
    let details = Details::from_array(call.argument(0), "$connection_details")?;
    let is_backend = call.argument(1).is_some_and(Zval::coerce_to_bool);
    let broker = call.state::<Client>()?.broker.clone();
    let broker = broker.filter(|_| is_backend);
    let connection = details.connect_later(broker.and_then(|it| it.prefix_of_results()))?;
    registry::remember(&connection);
    if is_backend {
        call.state::<Client>()?.backend = Some(connection);
        return Ok(());
    }
    let client = call.state::<Client>()?;
    client.broker = Some(connection);
    if client.backend.is_none() {
        client.backend = configured_backend(client.broker.as_deref())?;
    }
    Ok(())
}

/// Implements `InitializeAMQPConnection($details)`, which throws: a connection has no PHP object
/// here.
pub(super) fn initialize_amqp_connection(_call: &mut Call<'_>) -> Result<(), Thrown> {
    Err(Thrown::celery(
        "InitializeAMQPConnection() has nothing to return: the extension keeps its connections itself and has no PHP \
         connection objects. Use PostTask() and AsyncResult.",
    ))
}
