//! Declares internal classes, interfaces and enums, with the members of [`member`](super::member).
//!
//! The tables are built by hand. Classes that replace those of celery-php have untyped parameters
//! and no return types, so that a subclass may override a method without types. The classes of the
//! API for new code have exact types. The declaration is also what arguments are checked by
//! ([`call`](super::call)), so that both cannot differ.
//!
//! Declared classes live as long as the module, so their tables are leaked on purpose.

use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;
use std::ptr;

use ext_php_rs::ffi;
use ext_php_rs::flags::ClassFlags;
use ext_php_rs::types::{ZendStr, Zval};
use ext_php_rs::zend::{ClassEntry, ZendType};

use super::member::{add_attribute, function_table};
use super::types::leaked;

pub(crate) use super::member::{
    Method, Param, Property, abstract_method, method, optional, required, variadic,
};
pub(crate) use super::types::DeclareError;

unsafe extern "C" {
    fn zend_register_class_alias_ex(
        name: *const c_char,
        len: usize,
        class: *mut ClassEntry,
        persistent: bool,
    ) -> c_int;
    fn zend_class_implements(class: *mut ClassEntry, count: c_int, ...);
    fn zend_declare_typed_property(
        class: *mut ClassEntry,
        name: *mut ffi::zend_string,
        default: *mut Zval,
        access: c_int,
        comment: *mut ffi::zend_string,
        type_: ZendType,
    ) -> *mut ffi::zend_property_info;
}

/// The kind of a class.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Open,
    Abstract,
    Final,
    Interface,
}

/// A class or an interface to declare.
pub(crate) struct Class {
    name: &'static str,
    parent: Option<&'static str>,
    sort: Sort,
    interfaces: Vec<&'static str>,
    methods: Vec<Method>,
    properties: Vec<Property>,
}

impl Class {
    /// Creates a class without members.
    pub(crate) fn new(name: &'static str) -> Self {
        Class {
            name,
            parent: None,
            sort: Sort::Open,
            interfaces: Vec::new(),
            methods: Vec::new(),
            properties: Vec::new(),
        }
    }

    /// Creates a class that cannot be extended.
    pub(crate) fn closed(name: &'static str) -> Self {
        Class {
            sort: Sort::Final,
            ..Class::new(name)
        }
    }

    /// Creates an interface.
    pub(crate) fn interface(name: &'static str) -> Self {
        Class {
            sort: Sort::Interface,
            ..Class::new(name)
        }
    }

    /// Makes the class abstract, although none of its methods is.
    pub(crate) fn made_abstract(mut self) -> Self {
        self.sort = Sort::Abstract;
        self
    }

    /// Sets the parent, by its lower-case name.
    pub(crate) fn extending(mut self, parent: &'static str) -> Self {
        self.parent = Some(parent);
        self
    }

    /// Adds an interface, by its lower-case name.
    pub(crate) fn implementing(mut self, interface: &'static str) -> Self {
        self.interfaces.push(interface);
        self
    }

    /// Adds methods.
    pub(crate) fn with(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.methods.extend(methods);
        self
    }

    /// Adds properties. The slots of an object are in their order, after those of the parent.
    pub(crate) fn having(mut self, properties: impl IntoIterator<Item = Property>) -> Self {
        self.properties.extend(properties);
        self
    }

    /// Declares the class. Call it only while the module starts.
    pub(crate) fn declare(self) -> Result<&'static mut ClassEntry, DeclareError> {
        let parent = match self.parent {
            Some(name) => ptr::from_mut(declared(name)?),
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
        let class = unsafe {
            if self.sort == Sort::Interface {
                ffi::zend_register_internal_interface(&raw mut entry).as_mut()
            } else {
                ffi::zend_register_internal_class_ex(&raw mut entry, parent).as_mut()
            }
        };
        let class =
            class.ok_or_else(|| DeclareError(format!("class {} was not registered", self.name)))?;
        match self.sort {
            // Like a class written `abstract` in PHP, it cannot be instantiated although no method
            // is abstract.
            Sort::Abstract => class.ce_flags |= ClassFlags::Abstract.bits(),
            Sort::Final => {
                class.ce_flags |= (ClassFlags::Final | ClassFlags::NoDynamicProperties).bits();
            }
            Sort::Open | Sort::Interface => {}
        }
        for property in self.properties {
            declare_property(class, property)?;
        }
        for interface in self.interfaces {
            let interface = ptr::from_mut(declared(interface)?);
            // SAFETY: both classes are registered, and the count is that of the interfaces.
            unsafe { zend_class_implements(class, 1, interface) };
        }
        for method in &self.methods {
            for (offset, _) in method
                .params
                .iter()
                .enumerate()
                .filter(|(_, param)| param.is_sensitive)
            {
                add_attribute(class, method.name, "SensitiveParameter", Some(offset))?;
            }
            if method.is_kept {
                add_attribute(class, method.name, "NoDiscard", None)?;
            }
        }
        Ok(class)
    }
}

fn declare_property(class: &mut ClassEntry, property: Property) -> Result<(), DeclareError> {
    let flags = c_int::try_from(property.flags).map_err(|e| DeclareError(e.to_string()))?;
    let of = property.of.of_property()?;
    // A typed property without a default is uninitialised: its value has the type `IS_UNDEF`.
    // SAFETY: all zeroes are the undefined value.
    let undefined = || unsafe { std::mem::zeroed() };
    let mut default: Zval = property.default.unwrap_or_else(undefined);
    let name = ZendStr::new_interned(property.name, true).into_raw();
    // SAFETY: `class` is registered and still private to this thread. The name is interned. The
    // engine copies the default and takes over the type.
    unsafe {
        zend_declare_typed_property(class, name, &raw mut default, flags, ptr::null_mut(), of);
    }
    Ok(())
}

/// An enum with a text for each case.
pub(crate) struct Enum {
    pub(crate) name: &'static str,
    /// The names of the cases and their texts.
    pub(crate) cases: &'static [(&'static str, &'static str)],
    pub(crate) methods: Vec<Method>,
}

impl Enum {
    /// Declares the enum. Call it only while the module starts.
    pub(crate) fn declare(self) -> Result<(), DeclareError> {
        let functions = function_table(&self.methods)?;
        let kind = u8::try_from(ffi::IS_STRING).map_err(|e| DeclareError(e.to_string()))?;
        // SAFETY: MINIT is running; name and table are leaked.
        let class =
            unsafe { ffi::zend_register_internal_enum(leaked(self.name)?, kind, functions) };
        // SAFETY: the engine returns the class just registered. As an enum written in PHP, it is
        // final.
        let class = unsafe { class.as_mut() };
        let class =
            class.ok_or_else(|| DeclareError(format!("{} was not registered", self.name)))?;
        class.ce_flags |= ClassFlags::Final.bits();
        for (name, text) in self.cases {
            let mut value = Zval::new();
            value
                .set_interned_string(text, true)
                .map_err(|error| DeclareError(error.to_string()))?;
            let name = ZendStr::new_interned(name, true).into_raw();
            // SAFETY: the enum is registered, and its name and text are interned.
            unsafe { ffi::zend_enum_add_case(class, name, &raw mut value) };
        }
        Ok(())
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
fn declared(lower_name: &str) -> Result<&'static mut ClassEntry, DeclareError> {
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
        .and_then(|slot| slot.value.ptr.cast::<ClassEntry>().as_mut())
    };
    class.ok_or_else(|| DeclareError(format!("the class {lower_name} does not exist")))
}
