//! Declares internal classes that look like classes of a PHP library.
//!
//! The tables are built by hand, because a drop-in library has special needs:
//!
//! * untyped parameters, so that a subclass may override a method without types;
//! * no return types;
//! * default values that Reflection shows.
//!
//! Declared classes live as long as the module, so their tables are leaked on purpose.

use std::ffi::{CString, NulError, c_char, c_int};
use std::mem::MaybeUninit;
use std::ptr;

use ext_php_rs::ffi;
use ext_php_rs::flags::{ClassFlags, DataType, MethodFlags, PropertyFlags};
use ext_php_rs::types::{ZendStr, Zval};
use ext_php_rs::zend::{ClassEntry, FunctionEntry, ZendType};

use super::call::Handler;

unsafe extern "C" {
    fn zend_register_class_alias_ex(
        name: *const c_char,
        len: usize,
        class: *mut ClassEntry,
        persistent: bool,
    ) -> c_int;
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

/// The error of a class that could not be declared. The module then refuses to load.
#[derive(Debug)]
pub(crate) struct DeclareError(pub(crate) String);

impl From<NulError> for DeclareError {
    fn from(error: NulError) -> Self {
        DeclareError(error.to_string())
    }
}

/// A parameter of a method, untyped except with [`Param::typed`].
pub(crate) struct Param {
    name: &'static str,
    default: Option<&'static str>,
    sensitive: bool,
    data_type: Option<DataType>,
}

/// Declares a required parameter.
pub(crate) const fn required(name: &'static str) -> Param {
    Param {
        name,
        default: None,
        sensitive: false,
        data_type: None,
    }
}

/// Declares an optional parameter. `default` is a PHP expression, evaluated when a named call skips
/// the parameter.
pub(crate) const fn optional(name: &'static str, default: &'static str) -> Param {
    Param {
        name,
        default: Some(default),
        sensitive: false,
        data_type: None,
    }
}

impl Param {
    /// Returns the name, without the `$`.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Hides the value in stack traces (`#[SensitiveParameter]`).
    pub(crate) const fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// Gives the parameter a type.
    pub(crate) const fn typed(mut self, data_type: DataType) -> Self {
        self.data_type = Some(data_type);
        self
    }
}

/// A public method.
pub(crate) struct Method {
    name: &'static str,
    handler: Handler,
    params: Vec<Param>,
    returns: Option<(DataType, bool)>,
    is_static: bool,
}

/// Declares a public method without a return type, as in celery-php.
pub(crate) fn method(
    name: &'static str,
    handler: Handler,
    params: impl Into<Vec<Param>>,
) -> Method {
    Method {
        name,
        handler,
        params: params.into(),
        returns: None,
        is_static: false,
    }
}

impl Method {
    /// Makes the method static.
    pub(crate) fn made_static(mut self) -> Self {
        self.is_static = true;
        self
    }

    /// Declares a return type. Use it only for methods that celery-php does not have.
    pub(crate) fn returning(mut self, data_type: DataType, nullable: bool) -> Self {
        self.returns = Some((data_type, nullable));
        self
    }
}

/// A declared property with a scalar default.
pub(crate) struct Property {
    pub(crate) name: &'static str,
    pub(crate) flags: PropertyFlags,
    pub(crate) default: Zval,
}

/// A class to declare.
pub(crate) struct Class {
    pub(crate) name: &'static str,
    /// The lower-case name of the parent.
    pub(crate) parent: Option<&'static str>,
    pub(crate) is_abstract: bool,
    pub(crate) methods: Vec<Method>,
    pub(crate) properties: Vec<Property>,
}

impl Class {
    /// Creates a class without members.
    pub(crate) fn new(name: &'static str) -> Self {
        Class {
            name,
            parent: None,
            is_abstract: false,
            methods: Vec::new(),
            properties: Vec::new(),
        }
    }

    /// Declares the class. Call it only while the module starts.
    pub(crate) fn declare(self) -> Result<&'static mut ClassEntry, DeclareError> {
        let parent = match self.parent {
            Some(name) => ptr::from_ref(declared(name)?).cast_mut(),
            None => ptr::null_mut(),
        };
        let functions = function_table(&self.methods)?;

        // SAFETY: a class entry is plain C data, and all zeroes are the state that
        // `INIT_CLASS_ENTRY` leaves.
        let mut entry: ClassEntry = unsafe { MaybeUninit::zeroed().assume_init() };
        entry.name = ZendStr::new_interned(self.name, true).into_raw();
        entry.info.internal.builtin_functions = functions;
        // SAFETY: MINIT is running; the entry is initialised, the engine copies it, and its tables
        // are leaked.
        let class =
            unsafe { ffi::zend_register_internal_class_ex(&raw mut entry, parent).as_mut() };
        let class =
            class.ok_or_else(|| DeclareError(format!("class {} was not registered", self.name)))?;
        if self.is_abstract {
            // Like a class written `abstract` in PHP, it cannot be instantiated although no method
            // is abstract.
            class.ce_flags |= ClassFlags::Abstract.bits();
        }

        for property in self.properties {
            let name = CString::new(property.name)?;
            let mut default = property.default;
            let flags =
                c_int::try_from(property.flags.bits()).map_err(|e| DeclareError(e.to_string()))?;
            // SAFETY: `class` is registered and still private to this thread. The engine copies
            // name and default.
            unsafe {
                ffi::zend_declare_property(
                    class,
                    name.as_ptr(),
                    property.name.len(),
                    &raw mut default,
                    flags,
                );
            }
        }
        for method in &self.methods {
            for (offset, _) in method
                .params
                .iter()
                .enumerate()
                .filter(|(_, param)| param.sensitive)
            {
                mark_sensitive(class, method.name, offset)?;
            }
        }
        Ok(class)
    }
}

/// Makes `alias` a second name of `class`.
pub(crate) fn alias(class: &mut ClassEntry, alias: &'static str) -> Result<(), DeclareError> {
    // SAFETY: the name is copied and lower-cased by the engine; `class` is registered.
    let outcome =
        unsafe { zend_register_class_alias_ex(alias.as_ptr().cast(), alias.len(), class, true) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(DeclareError(format!("the name {alias} is taken")))
    }
}

/// Finds a class by its lower-case name among those declared so far. Call it only while the module
/// starts.
fn declared(lower_name: &str) -> Result<&'static ClassEntry, DeclareError> {
    // SAFETY: during MINIT, the compiler's class table is set. It maps lower-case names to class
    // entries, which outlive the module's start.
    let class = unsafe {
        let globals = ffi::ext_php_rs_compiler_globals();
        ffi::zend_hash_str_find(
            (*globals).class_table,
            lower_name.as_ptr().cast(),
            lower_name.len(),
        )
        .as_ref()
        .and_then(|slot| slot.value.ptr.cast::<ClassEntry>().as_ref())
    };
    class.ok_or_else(|| DeclareError(format!("the parent class {lower_name} does not exist")))
}

fn function_table(methods: &[Method]) -> Result<*const FunctionEntry, DeclareError> {
    let mut table = Vec::with_capacity(methods.len() + 1);
    for method in methods {
        let required = method
            .params
            .iter()
            .take_while(|param| param.default.is_none())
            .count();
        let returns = match method.returns {
            Some((data_type, nullable)) => zend_type(data_type, nullable)?,
            None => ZendType::empty(false, false),
        };
        // The first element describes the function itself: its "name" is the number of required
        // parameters.
        let mut info = vec![ffi::zend_internal_arg_info {
            name: ptr::without_provenance(required),
            type_: returns,
            default_value: ptr::null(),
        }];
        for param in &method.params {
            info.push(ffi::zend_internal_arg_info {
                name: CString::new(param.name)?.into_raw(),
                type_: match param.data_type {
                    Some(data_type) => zend_type(data_type, false)?,
                    None => ZendType::empty(false, false),
                },
                default_value: match param.default {
                    Some(default) => CString::new(default)?.into_raw(),
                    None => ptr::null(),
                },
            });
        }
        let info: &'static [ffi::zend_internal_arg_info] = Box::leak(info.into_boxed_slice());

        let mut entry = FunctionEntry::end();
        entry.fname = CString::new(method.name)?.into_raw();
        // SAFETY: a reference and a non-null pointer are passed alike, and PHP passes valid ones.
        entry.handler = Some(unsafe {
            std::mem::transmute::<Handler, extern "C" fn(*mut ffi::zend_execute_data, *mut Zval)>(
                method.handler,
            )
        });
        entry.arg_info = info.as_ptr();
        entry.num_args =
            u32::try_from(method.params.len()).map_err(|e| DeclareError(e.to_string()))?;
        entry.flags = MethodFlags::Public.bits();
        if method.is_static {
            entry.flags |= MethodFlags::Static.bits();
        }
        table.push(entry);
    }
    table.push(FunctionEntry::end());
    Ok(Box::leak(table.into_boxed_slice()).as_ptr())
}

fn zend_type(data_type: DataType, nullable: bool) -> Result<ZendType, DeclareError> {
    ZendType::empty_from_type(data_type, false, false, nullable)
        .ok_or_else(|| DeclareError(format!("the type {data_type} has no name")))
}

fn mark_sensitive(class: &mut ClassEntry, method: &str, offset: usize) -> Result<(), DeclareError> {
    let lower = method.to_ascii_lowercase();
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
        let name = ZendStr::new_interned("SensitiveParameter", true).into_raw();
        // The attribute's offset counts parameters from one: 0 is the function itself.
        zend_add_attribute(
            &raw mut function.common.attributes,
            name,
            0,
            ATTRIBUTE_PERSISTENT,
            offset + 1,
            0,
        );
    }
    Ok(())
}
