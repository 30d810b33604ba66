//! The members of classes to declare: methods with their parameters, and properties.

use std::ptr;

use ext_php_rs::ffi;
use ext_php_rs::flags::{MethodFlags, PropertyFlags};
use ext_php_rs::types::{ZendStr, Zval};
use ext_php_rs::zend::{ClassEntry, FunctionEntry};

use super::call::Handler;
use super::types::{DeclareError, Type, leaked};

unsafe extern "C" {
    fn zend_add_attribute(
        attributes: *mut *mut ffi::HashTable,
        name: *mut ffi::zend_string,
        arguments: u32,
        flags: u32,
        offset: u32,
        line: u32,
    ) -> *mut std::ffi::c_void;
}

/// `ZEND_ATTRIBUTE_PERSISTENT`: the attribute belongs to an internal function.
const ATTRIBUTE_PERSISTENT: u32 = 1;
/// `ZEND_ACC_READONLY`, which is the same in every PHP since 8.1.
const READONLY: u32 = 1 << 7;
/// `ZEND_ACC_NODISCARD`, which PHP has since 8.5. It sets the flag itself only for methods written in
/// PHP.
const NO_DISCARD: u32 = if ffi::ZEND_MODULE_API_NO >= 20_250_925 {
    1 << 29
} else {
    0
};

/// A [`Handler`] as the engine declares it.
type CHandler = unsafe extern "C" fn(*mut ffi::zend_execute_data, *mut Zval);

/// A parameter of a method, untyped except with [`Param::typed`].
#[derive(Clone, Copy)]
pub(crate) struct Param {
    name: &'static str,
    default: Option<&'static str>,
    pub(super) is_sensitive: bool,
    is_variadic: bool,
    of: Type,
}

/// Declares a required parameter.
pub(crate) const fn required(name: &'static str) -> Param {
    Param {
        name,
        default: None,
        is_sensitive: false,
        is_variadic: false,
        of: Type::NONE,
    }
}

/// Declares an optional parameter. `default` is a PHP expression, evaluated when a named call skips
/// the parameter.
pub(crate) const fn optional(name: &'static str, default: &'static str) -> Param {
    Param {
        default: Some(default),
        ..required(name)
    }
}

/// Declares a parameter that takes all further arguments, also those with unknown names.
pub(crate) const fn variadic(name: &'static str) -> Param {
    Param {
        is_variadic: true,
        ..required(name)
    }
}

impl Param {
    /// Returns the name, without the `$`.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Hides the value in stack traces (`#[SensitiveParameter]`).
    pub(crate) const fn sensitive(mut self) -> Self {
        self.is_sensitive = true;
        self
    }

    /// Gives the parameter a type.
    pub(crate) const fn typed(mut self, of: Type) -> Self {
        self.of = of;
        self
    }
}

/// A method.
pub(crate) struct Method {
    pub(super) name: &'static str,
    handler: Option<Handler>,
    pub(super) params: Vec<Param>,
    returns: Type,
    flags: MethodFlags,
    pub(super) is_kept: bool,
}

/// Declares a public method without a return type, as in celery-php.
pub(crate) fn method(
    name: &'static str,
    handler: Handler,
    params: impl Into<Vec<Param>>,
) -> Method {
    Method {
        name,
        handler: Some(handler),
        params: params.into(),
        returns: Type::NONE,
        flags: MethodFlags::Public,
        is_kept: false,
    }
}

/// Declares a method of an interface.
pub(crate) fn abstract_method(name: &'static str, params: impl Into<Vec<Param>>) -> Method {
    Method {
        name,
        handler: None,
        params: params.into(),
        returns: Type::NONE,
        flags: MethodFlags::Public.union(MethodFlags::Abstract),
        is_kept: false,
    }
}

impl Method {
    /// Makes the method static.
    pub(crate) fn made_static(mut self) -> Self {
        self.flags |= MethodFlags::Static;
        self
    }

    /// Makes the method private.
    pub(crate) fn made_private(mut self) -> Self {
        self.flags.remove(MethodFlags::Public);
        self.flags |= MethodFlags::Private;
        self
    }

    /// Declares that dropping what the method returns is a mistake: `#[\NoDiscard]`, for which PHP warns
    /// since 8.5.
    pub(crate) fn made_kept(mut self) -> Self {
        self.is_kept = true;
        self
    }

    /// Declares a return type. Do not use it for methods that celery-php has.
    pub(crate) fn returning(mut self, of: Type) -> Self {
        self.returns = of;
        self
    }
}

/// A declared property.
pub(crate) struct Property {
    pub(super) name: &'static str,
    pub(super) flags: u32,
    pub(super) default: Option<Zval>,
    pub(super) of: Type,
}

impl Property {
    /// Declares an untyped property with a scalar default.
    pub(crate) fn untyped(name: &'static str, flags: PropertyFlags, default: Zval) -> Self {
        Property {
            name,
            flags: flags.bits(),
            default: Some(default),
            of: Type::NONE,
        }
    }

    /// Declares a public readonly property, which the extension writes once
    /// ([`object::init`](super::object::init)).
    pub(crate) fn readonly(name: &'static str, of: Type) -> Self {
        Property {
            name,
            flags: PropertyFlags::Public.bits() | READONLY,
            default: None,
            of,
        }
    }

    /// Declares a private property that is null at first.
    pub(crate) fn private(name: &'static str) -> Self {
        Property::untyped(name, PropertyFlags::Private, Zval::null())
    }
}

/// Returns the table of the engine for methods.
pub(super) fn function_table(methods: &[Method]) -> Result<*const FunctionEntry, DeclareError> {
    let mut table = Vec::with_capacity(methods.len() + 1);
    for method in methods {
        let required = method
            .params
            .iter()
            .take_while(|param| param.default.is_none() && !param.is_variadic)
            .count();
        // The first element describes the function itself: its "name" is the number of required
        // parameters.
        let mut info = vec![ffi::zend_internal_arg_info {
            name: ptr::without_provenance(required),
            type_: method.returns.of_argument(false)?,
            default_value: ptr::null(),
        }];
        for param in &method.params {
            info.push(ffi::zend_internal_arg_info {
                name: leaked(param.name)?,
                type_: param.of.of_argument(param.is_variadic)?,
                default_value: match param.default {
                    Some(default) => leaked(default)?,
                    None => ptr::null(),
                },
            });
        }
        let info: &'static [ffi::zend_internal_arg_info] = Box::leak(info.into_boxed_slice());

        let mut entry = FunctionEntry::end();
        entry.fname = leaked(method.name)?;
        // SAFETY: a reference and a non-null pointer are passed alike, and PHP passes valid ones.
        let of_c = |handler| unsafe { std::mem::transmute::<Handler, CHandler>(handler) };
        entry.handler = method.handler.map(of_c);
        entry.arg_info = info.as_ptr();
        entry.num_args =
            u32::try_from(method.params.len()).map_err(|e| DeclareError(e.to_string()))?;
        let kept = if method.is_kept { NO_DISCARD } else { 0 };
        entry.flags = method.flags.bits() | kept;
        table.push(entry);
    }
    table.push(FunctionEntry::end());
    Ok(Box::leak(table.into_boxed_slice()).as_ptr())
}

/// Adds an attribute without arguments to a method, or to its parameter of this number.
pub(super) fn add_attribute(
    class: &mut ClassEntry,
    method: &str,
    attribute: &str,
    parameter: Option<usize>,
) -> Result<(), DeclareError> {
    let lower = method.to_ascii_lowercase();
    // The attribute's offset counts parameters from one: 0 is the function itself.
    let offset = parameter.map_or(0, |number| number + 1);
    let offset = u32::try_from(offset).map_err(|e| DeclareError(e.to_string()))?;
    // SAFETY: the function table of a class just registered maps lower-case names to its own
    // functions, which no other thread can see yet. The attribute is persistent and its name
    // interned.
    unsafe {
        let slot = ffi::zend_hash_str_find(
            &raw const class.function_table,
            lower.as_ptr().cast(),
            lower.len(),
        );
        let function = slot
            .as_ref()
            .and_then(|slot| slot.value.func.as_mut())
            .ok_or_else(|| DeclareError(format!("method {method} was not registered")))?;
        let name = ZendStr::new_interned(attribute, true).into_raw();
        zend_add_attribute(
            &raw mut function.common.attributes,
            name,
            0,
            ATTRIBUTE_PERSISTENT,
            offset,
            0,
        );
    }
    Ok(())
}
