//! Generates the code for a task function.
//!
//! A parameter is of one of three kinds, recognised by the last part of its type's path. It is a
//! part of the worker (`Context`, `State<T>`), the rest of the call (`Args`, `Kwargs`), or an
//! argument of the message.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Error, Expr, FnArg, GenericArgument, ItemFn, Pat, PatIdent, PathArguments, Result, ReturnType,
    Type,
};

use crate::options::{Batch, Options};

pub(crate) fn expand(options: Options, mut function: ItemFn) -> Result<TokenStream> {
    let signature = &function.sig;
    if let Some(generics) = signature.generics.lt_token {
        return Err(Error::new(generics.span(), "a task cannot be generic"));
    }
    let parameters = Parameters::take(&mut function)?;
    let definition = match &options.batch {
        Some(batch) => batched(&options, batch, &function, &parameters)?,
        None => single(&options, &function, &parameters)?,
    };
    let policy = policy(&options);
    let needs = parameters.needs();

    let (visibility, ident) = (&function.vis, &function.sig.ident);
    let conditions: Vec<_> = function
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
        .collect();
    let documentation = format!("The task of the function [`{ident}`](fn@{ident}).");
    // An enum has a name in Rust's namespace of types only, so the function can have the same name
    // in the namespace of values.
    Ok(quote! {
        // A task may be async although it awaits nothing, and takes arguments by value that it only
        // reads.
        #[allow(clippy::unused_async, clippy::needless_pass_by_value)]
        #function

        #(#conditions)*
        #[doc = #documentation]
        #[allow(non_camel_case_types)]
        #visibility enum #ident {}

        #(#conditions)*
        impl #ident {
            /// Returns the task's definition, for a worker to register.
            #[must_use]
            #visibility fn task() -> ::celery_worker::TaskDef {
                #definition #policy #(#needs)*
            }
        }
    })
}

/// Generates a task that gets one call at a time.
fn single(options: &Options, function: &ItemFn, parameters: &Parameters) -> Result<TokenStream> {
    let ident = &function.sig.ident;
    let python_name = ident.unraw().to_string();
    let name = options.name.clone().unwrap_or_else(|| python_name.clone());
    let (mut list, mut bindings, mut passed) = (Vec::new(), Vec::new(), Vec::new());
    let (mut rest, mut keywords) = (false, false);
    let mut index = 0usize;
    for (number, parameter) in parameters.0.iter().enumerate() {
        let variable = format_ident!("value_{number}");
        let ty = &parameter.ty;
        bindings.push(match parameter.kind {
            Kind::Worker => quote!(let #variable: #ty = call.extract()?;),
            Kind::Args => {
                rest = true;
                quote!(let #variable: #ty = bound.args()?;)
            }
            Kind::Kwargs => {
                keywords = true;
                quote!(let #variable: #ty = bound.kwargs()?;)
            }
            Kind::Argument => {
                let argument = parameter.name.as_deref().ok_or_else(|| {
                    Error::new(
                        ty.span(),
                        "an argument needs a plain name, which callers can use",
                    )
                })?;
                let required = parameter.default.is_none() && !is_named(ty, "Option");
                list.push(quote!(::celery_worker::__private::Param { name: #argument, required: #required }));
                let at = index;
                index += 1;
                match &parameter.default {
                    Some(default) => quote! {
                        let #variable: #ty = match bound.optional(#at)? {
                            ::core::option::Option::Some(value) => value,
                            ::core::option::Option::None => #default,
                        };
                    },
                    None if required => quote!(let #variable: #ty = bound.required(#at)?;),
                    None => quote!(let #variable: #ty = bound.optional(#at)?.flatten();),
                }
            }
            Kind::Batch => {
                return Err(Error::new(ty.span(), "Batch needs #[task(batch(…))]"));
            }
        });
        passed.push(variable);
    }
    let answer = if returns_result(&function.sig.output) {
        quote!(::celery_worker::TaskDef::answer)
    } else {
        quote!(::celery_worker::TaskDef::answer_value)
    };
    let prepare = quote! {
        const SIGNATURE: ::celery_worker::__private::Signature = ::celery_worker::__private::Signature {
            function: #python_name,
            params: &[#(#list),*],
            rest: #rest,
            keywords: #keywords,
        };
        #[allow(unused_mut)]
        let mut bound = call.bind(&SIGNATURE)?;
        #(#bindings)*
        ::core::mem::drop(bound);
    };
    Ok(if function.sig.asyncness.is_some() {
        quote! {
            ::celery_worker::TaskDef::function(#name, |call| async move {
                #prepare
                #answer(#ident(#(#passed),*).await)
            })
        }
    } else {
        quote! {
            ::celery_worker::TaskDef::blocking(#name, |call| {
                #prepare
                #answer(#ident(#(#passed),*))
            })
        }
    })
}

/// Generates a task that gets many calls at once.
fn batched(
    options: &Options,
    batch: &Batch,
    function: &ItemFn,
    parameters: &Parameters,
) -> Result<TokenStream> {
    let ident = &function.sig.ident;
    if function.sig.asyncness.is_none() {
        return Err(Error::new(ident.span(), "a task in batches must be async"));
    }
    let python_name = ident.unraw().to_string();
    let name = options.name.clone().unwrap_or_else(|| python_name.clone());
    let mut passed = Vec::new();
    let mut batches = 0;
    for parameter in &parameters.0 {
        passed.push(match parameter.kind {
            Kind::Batch => {
                batches += 1;
                quote!(calls)
            }
            Kind::Worker if is_named(&parameter.ty, "State") => quote!(calls.extract()?),
            _ => {
                let message = "a task in batches takes one Batch<…> and any State<…>";
                return Err(Error::new(parameter.ty.span(), message));
            }
        });
    }
    if batches != 1 {
        return Err(Error::new(
            ident.span(),
            "a task in batches takes one Batch<…>",
        ));
    }
    // The call takes ownership of the batch, so the parts of the batch are taken out before.
    let (mut before, mut arguments) = (Vec::new(), Vec::new());
    for (number, (value, parameter)) in passed.into_iter().zip(&parameters.0).enumerate() {
        if parameter.kind == Kind::Batch {
            arguments.push(value);
        } else {
            let (variable, ty) = (format_ident!("value_{number}"), &parameter.ty);
            before.push(quote!(let #variable: #ty = #value;));
            arguments.push(quote!(#variable));
        }
    }
    let size = batch.size.unwrap_or(500);
    let linger = nanos(batch.linger.unwrap_or(Duration::from_millis(5)));
    Ok(quote! {
        ::celery_worker::TaskDef::batched(
            #name,
            #python_name,
            ::celery_worker::BatchOptions {
                size: #size,
                linger: ::core::time::Duration::from_nanos(#linger),
            },
            |calls| async move {
                #(#before)*
                #ident(#(#arguments),*).await.map_err(::core::convert::Into::into)
            },
        )
    })
}

fn policy(options: &Options) -> TokenStream {
    let mut policy = TokenStream::new();
    if let Some(retries) = options.max_retries {
        policy.extend(quote!(.max_retries(#retries)));
    }
    let times = [
        ("retry_delay", options.retry_delay),
        ("soft_time_limit", options.soft_time_limit),
        ("time_limit", options.time_limit),
    ];
    for (method, time) in times {
        if let Some(time) = time {
            let (method, time) = (format_ident!("{method}"), nanos(time));
            policy.extend(quote!(.#method(::core::time::Duration::from_nanos(#time))));
        }
    }
    policy
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The parameters of the function, without our own attribute.
struct Parameters(Vec<Parameter>);

struct Parameter {
    /// `None` for a pattern.
    name: Option<String>,
    ty: Type,
    kind: Kind,
    default: Option<Expr>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Worker,
    Args,
    Kwargs,
    Batch,
    Argument,
}

impl Parameters {
    fn take(function: &mut ItemFn) -> Result<Self> {
        let mut parameters = Vec::new();
        for input in &mut function.sig.inputs {
            let FnArg::Typed(input) = input else {
                return Err(Error::new(
                    input.span(),
                    "a task is a plain function, not a method",
                ));
            };
            let mut default = None;
            let mut failure = None;
            input.attrs.retain(|attribute| {
                let ours = attribute.path().is_ident("default");
                if ours {
                    match attribute.parse_args::<Expr>() {
                        Ok(expression) => default = Some(expression),
                        Err(error) => failure = Some(error),
                    }
                }
                !ours
            });
            if let Some(error) = failure {
                return Err(error);
            }
            let name = match &*input.pat {
                Pat::Ident(PatIdent {
                    ident,
                    subpat: None,
                    ..
                }) => Some(ident.unraw().to_string()),
                _ => None,
            };
            let kind = match () {
                () if is_named(&input.ty, "Context") || is_named(&input.ty, "State") => {
                    Kind::Worker
                }
                () if is_named(&input.ty, "Args") => Kind::Args,
                () if is_named(&input.ty, "Kwargs") => Kind::Kwargs,
                () if is_named(&input.ty, "Batch") => Kind::Batch,
                () => Kind::Argument,
            };
            if default.is_some() && kind != Kind::Argument {
                return Err(Error::new(
                    input.ty.span(),
                    "only an argument has a default",
                ));
            }
            parameters.push(Parameter {
                name,
                ty: (*input.ty).clone(),
                kind,
                default,
            });
        }
        Ok(Parameters(parameters))
    }

    /// Returns `.needs::<T>()` for each `State<T>`, so that a missing state is found at the start.
    fn needs(&self) -> Vec<TokenStream> {
        let states = self
            .0
            .iter()
            .filter(|parameter| is_named(&parameter.ty, "State"));
        states
            .filter_map(|parameter| {
                let Type::Path(path) = &parameter.ty else {
                    return None;
                };
                let PathArguments::AngleBracketed(arguments) =
                    &path.path.segments.last()?.arguments
                else {
                    return None;
                };
                arguments.args.iter().find_map(|argument| match argument {
                    GenericArgument::Type(state) => Some(quote!(.needs::<#state>())),
                    _ => None,
                })
            })
            .collect()
    }
}

/// Returns `true` if the last part of the type's path is `name`.
fn is_named(ty: &Type, name: &str) -> bool {
    match ty {
        Type::Path(path) => path
            .path
            .segments
            .last()
            .is_some_and(|last| last.ident == name),
        _ => false,
    }
}

/// Returns `true` for `Result<…>`, `io::Result<…>`, `TaskResult<…>` and other types whose names end
/// in `Result`.
fn returns_result(output: &ReturnType) -> bool {
    match output {
        ReturnType::Type(_, ty) => match &**ty {
            Type::Path(path) => path
                .path
                .segments
                .last()
                .is_some_and(|last| last.ident.to_string().ends_with("Result")),
            _ => false,
        },
        ReturnType::Default => false,
    }
}
