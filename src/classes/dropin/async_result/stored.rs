//! A result between requests: `serialize()` and `unserialize()`.
//!
//! The string holds no address and no secret, only the *name* of its connection, which is looked up
//! among the connections of this process. So a forged string cannot make the extension connect to
//! an address.
//!
//! The string holds only strings, numbers and the properties that PHP itself stores. So reading it
//! creates only objects that PHP's own `unserialize()` would create, and the properties pass PHP's
//! own checks ([`properties`]).

use std::rc::Rc;

use ext_php_rs::types::{ZendHashTable, Zval};

use super::state::{AsyncResult, Place, shortened};
use crate::classes::dropin::api::Api;
use crate::ffi::call::Call;
use crate::ffi::properties;
use crate::ffi::throw::Thrown;
use crate::ffi::value;
use crate::messages::Document;
use crate::values;

/// The version of the stored form. Newer versions of the extension must also read older forms.
const VERSION: i64 = 1;

/// Implements `__serialize()`.
pub(super) fn serialize(call: &mut Call<'_>) -> Result<(), Thrown> {
    let this = call.state::<AsyncResult>()?.clone();
    let own = properties::properties(call.object()?)?;
    let mut array = ZendHashTable::new();
    let mut put = |name: &str, value: Zval| {
        array
            .insert(name, value)
            .map_err(|error| Thrown::celery(format!("The result was not serialized: {error}.")))
    };
    let mut version = Zval::new();
    version.set_long(VERSION);
    put("version", version)?;
    put("id", text(Some(&this.id)))?;
    put("task", text(this.task_name.as_deref()))?;
    put("args", text(this.args.as_deref().map(shortened).as_deref()))?;
    put(
        "api",
        text(Some(if this.api == Api::Namespaced {
            "namespaced"
        } else {
            "drop-in"
        })),
    )?;
    put("connection", text(this.backend.name().as_deref()))?;
    put("broker", text(this.broker.name().as_deref()))?;
    put(
        "result",
        match &this.document {
            Some(document) => value::large_string(document.text.as_bytes())?,
            None => Zval::null(),
        },
    )?;
    if own.array().is_some_and(|own| !own.is_empty()) {
        put("properties", own)?;
    }
    let mut answer = Zval::new();
    answer.set_hashtable(array);
    call.give(answer);
    Ok(())
}

/// Implements `__unserialize(array $data)`.
pub(super) fn unserialize(call: &mut Call<'_>) -> Result<(), Thrown> {
    let array = call
        .argument(0)
        .and_then(Zval::array)
        .ok_or_else(|| broken("it has no data"))?;
    match array.get("version").and_then(Zval::long) {
        Some(VERSION) => {}
        Some(version) => {
            return Err(broken(&format!(
                "it has version {version}, and this extension reads version {VERSION}"
            )));
        }
        None => return Err(broken("it has no version")),
    }
    let id = field(array, "id")?
        .filter(|id| !id.is_empty())
        .ok_or_else(|| broken("it has no task id"))?;
    let document = match field(array, "result")? {
        Some(text) => Some(Document::read(&id, text.as_bytes())?),
        None => None,
    };
    if document
        .as_ref()
        .is_some_and(|document| !document.is_final())
    {
        return Err(broken("its result is not final"));
    }
    let restored = AsyncResult {
        api: if field(array, "api")?.as_deref() == Some("namespaced") {
            Api::Namespaced
        } else {
            Api::DropIn
        },
        id,
        task_name: field(array, "task")?.map(Into::into),
        args: field(array, "args")?,
        backend: field(array, "connection")?.map_or(Place::Unknown, Place::Named),
        broker: field(array, "broker")?.map_or(Place::Unknown, Place::Named),
        document: document.map(Rc::new),
        value: None,
    };
    // A reference is held, because PHP code that runs meanwhile may replace the array.
    let own = array
        .get("properties")
        .map(|own| own.dereference().shallow_clone());
    if let Some(own) = &own {
        if !own.is_array() {
            return Err(broken("its properties are not an array"));
        }
        if !properties::owns_privates(call.object()?, own) {
            return Err(broken("it has a private property of another class"));
        }
        properties::load(call.object()?, own)?;
    }
    *call.state::<AsyncResult>()? = restored;
    Ok(())
}

fn text(text: Option<&str>) -> Zval {
    text.map_or_else(Zval::null, |text| value::string(text.as_bytes()))
}

fn field(array: &ZendHashTable, name: &str) -> Result<Option<String>, Thrown> {
    match array.get(name).map(Zval::dereference) {
        None => Ok(None),
        Some(value) if value.is_null() => Ok(None),
        Some(value) if value.is_string() => values::text(value)?
            .map(Some)
            .ok_or_else(|| broken(&format!("its field {name} is not valid UTF-8"))),
        Some(_) => Err(broken(&format!("its field {name} is not a string"))),
    }
}

fn broken(why: &str) -> Thrown {
    Thrown::celery(format!("This is not a stored AsyncResult: {why}."))
}
