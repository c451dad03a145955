//! The walk over the syntax tree.

use proc_macro2::{Span, TokenStream};
use syn::visit::{self, Visit};

use super::super::tokens::Spot;
use super::literals::Tally;
use super::paths::{Scope, is_crate};
use super::rules::Rule;
use super::{Found, attributes, macros, nesting, plain, segments, text};

/// Every refusal in `file`.
pub(super) fn walk(file: &syn::File) -> Vec<Found> {
    let mut names = Names::default();
    names.visit_file(file);
    let mut walk = Walk {
        scope: names.scope,
        draws: names.draws,
        found: Vec::new(),
        tally: Tally::default(),
        qualified: None,
        drawing: false,
        macros: 0,
    };
    walk.visit_file(file);
    walk.found
}

/// First pass: the names that the file defines and imports, at any place in it.
#[derive(Default)]
struct Names {
    scope: Scope,
    /// `harness::seeded` is imported.
    draws: bool,
}

impl Names {
    fn define(&mut self, ident: &syn::Ident) {
        self.scope.known.insert(plain(ident));
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.define(&item.ident);
        visit::visit_item_struct(self, item);
    }
    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.define(&item.ident);
        visit::visit_item_enum(self, item);
    }
    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.define(&item.ident);
        visit::visit_item_trait(self, item);
    }
    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.define(&item.ident);
        visit::visit_item_type(self, item);
    }
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.define(&item.ident);
        visit::visit_item_mod(self, item);
    }
    fn visit_type_param(&mut self, parameter: &'ast syn::TypeParam) {
        self.define(&parameter.ident);
        visit::visit_type_param(self, parameter);
    }
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        for import in imports(item) {
            // `use name;` alone would vouch for itself.
            if import.segments.len() < 2 {
                continue;
            }
            self.draws |= import.segments == ["harness", "seeded"];
            if let Some(name) = import.rename.or(import.segments.last().cloned()).filter(|_| !import.glob) {
                self.scope.known.insert(name);
            }
        }
    }
}

/// One leaf of a `use`.
struct Import {
    /// Without a last `self` or `*`.
    segments: Vec<String>,
    rename: Option<String>,
    glob: bool,
    span: Span,
}

fn imports(item: &syn::ItemUse) -> Vec<Import> {
    let mut imports = Vec::new();
    leaves(&item.tree, &mut Vec::new(), &mut imports);
    imports
}

fn leaves(tree: &syn::UseTree, above: &mut Vec<String>, found: &mut Vec<Import>) {
    let mut leaf = |last: Option<&syn::Ident>, rename: Option<&syn::Ident>, glob, span| {
        let mut segments = above.clone();
        // `use std::fmt::{self}` names `std::fmt`.
        segments.extend(last.map(plain).filter(|name| name != "self" || above.is_empty()));
        found.push(Import { segments, rename: rename.map(plain), glob, span });
    };
    match tree {
        syn::UseTree::Path(path) => {
            above.push(plain(&path.ident));
            leaves(&path.tree, above, found);
            above.pop();
        }
        syn::UseTree::Name(name) => leaf(Some(&name.ident), None, false, name.ident.span()),
        syn::UseTree::Rename(name) => leaf(Some(&name.ident), Some(&name.rename), false, name.ident.span()),
        syn::UseTree::Glob(glob) => leaf(None, None, true, glob.star_token.spans[0]),
        syn::UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, above, found)),
    }
}

/// Second pass: the rules.
struct Walk {
    scope: Scope,
    draws: bool,
    found: Vec<Found>,
    tally: Tally,
    /// Set between a qualified type `<T as Trait>` and its path: how many of the path's names belong to the trait.
    qualified: Option<usize>,
    /// The path that comes next is what is called with a seed.
    drawing: bool,
    /// Macros around the place that is being read.
    macros: usize,
}

impl Walk {
    fn refuse(&mut self, rule: Rule, span: Span, text: impl Into<String>) {
        self.found.push(Found { rule, spot: Spot::of(span), text: text.into() });
    }

    fn bind(&mut self, ident: &syn::Ident) {
        if is_crate(&plain(ident)) {
            self.refuse(Rule::ShadowedName, ident.span(), plain(ident));
        }
    }

    /// Whether `path` is `harness::seeded`.
    fn is_draw(&self, path: &syn::Path) -> bool {
        let names = segments(path);
        names == ["harness", "seeded"] || (self.draws && names == ["seeded"])
    }
}

impl<'ast> Visit<'ast> for Walk {
    // What the parser took over unread; macros and attributes, the other places of raw tokens, do not come here.
    fn visit_token_stream(&mut self, tokens: &'ast TokenStream) {
        let first = tokens.clone().into_iter().next();
        self.refuse(
            Rule::UnfamiliarSyntax,
            first.map_or_else(Span::call_site, |token| token.span()),
            tokens.to_string(),
        );
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let Some((rule, text)) = attributes::refused(attribute) {
            self.refuse(rule, beginning(attribute.meta.path()), text);
        }
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if self.macros == nesting::MACROS {
            self.refuse(Rule::Nesting, beginning(&call.path), format!("{}!", text(&call.path)));
            return;
        }
        match macros::read(call) {
            Err(rule) => self.refuse(rule, beginning(&call.path), format!("{}!", text(&call.path))),
            Ok(arguments) => {
                let table = text(&call.path) == "vec";
                if table {
                    self.tally.enter(Spot::of(beginning(&call.path)), arguments.expressions.len());
                }
                self.macros += 1;
                // The arguments live here only, so a walk of their own lifetime goes over them.
                arguments.expressions.iter().for_each(|expression| Visit::visit_expr(self, expression));
                arguments.pattern.iter().for_each(|pattern| Visit::visit_pat(self, pattern));
                self.macros -= 1;
                if table {
                    self.end_of_table();
                }
            }
        }
    }

    // Paths

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        item.attrs.iter().for_each(|attribute| self.visit_attribute(attribute));
        let rooted = item.leading_colon.is_some();
        for import in imports(item) {
            let Import { mut segments, rename, glob, span } = import;
            if let Some(rule) = self.scope.of_import(&segments, rooted, rename.as_deref(), glob) {
                segments.extend(glob.then(|| "*".to_owned()));
                let rename = rename.map(|name| format!(" as {name}")).unwrap_or_default();
                self.refuse(rule, span, format!("use {}{rename}", segments.join("::")));
            }
        }
    }

    fn visit_qself(&mut self, qualified: &'ast syn::QSelf) {
        self.visit_type(&qualified.ty);
        self.qualified = Some(qualified.position);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = segments(path);
        let drawing = std::mem::take(&mut self.drawing);
        let rule = match self.qualified.take() {
            // `<T>::name`: no beginning to look at, only names.
            Some(0) => names.iter().find_map(|name| super::names::refused(name)),
            _ => self.scope.of_path(&names, path.leading_colon.is_some()),
        };
        if let Some(rule) = rule {
            self.refuse(rule, beginning(path), names.join("::"));
        } else if self.is_draw(path) && !drawing {
            self.refuse(Rule::OwnSeed, beginning(path), names.join("::"));
        }
        visit::visit_path(self, path);
    }

    // `pub(in path)` leads nowhere that matters.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let syn::Expr::Path(function) = &*call.func
            && self.is_draw(&function.path)
        {
            self.drawing = true;
            let mut mention = Mention(false);
            call.args.first().into_iter().for_each(|seed| mention.visit_expr(seed));
            if !mention.0 {
                self.refuse(Rule::OwnSeed, beginning(&function.path), text(&function.path));
            }
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let name = plain(&call.method);
        if let Some(rule) = super::names::refused(&name) {
            self.refuse(rule, call.method.span(), format!(".{name}()"));
        }
        visit::visit_expr_method_call(self, call);
    }

    // Items

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.bind(&item.ident);
        if item.content.is_none() {
            self.refuse(Rule::OutOfLineModule, item.ident.span(), format!("mod {};", plain(&item.ident)));
        }
        self.scope.depth += 1;
        visit::visit_item_mod(self, item);
        self.scope.depth -= 1;
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.refuse(Rule::StaticItem, item.ident.span(), format!("static {}", plain(&item.ident)));
        visit::visit_item_static(self, item);
    }

    fn visit_item_union(&mut self, item: &'ast syn::ItemUnion) {
        self.refuse(Rule::Union, item.ident.span(), format!("union {}", plain(&item.ident)));
        visit::visit_item_union(self, item);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.bind(&item.ident);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.bind(&item.ident);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.bind(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.bind(&item.ident);
        visit::visit_item_type(self, item);
    }

    fn visit_type_param(&mut self, parameter: &'ast syn::TypeParam) {
        self.bind(&parameter.ident);
        visit::visit_type_param(self, parameter);
    }

    // Types and literals

    fn visit_type_ptr(&mut self, pointer: &'ast syn::TypePtr) {
        self.refuse(Rule::RawPointer, pointer.star_token.spans[0], "*");
        visit::visit_type_ptr(self, pointer);
    }

    fn visit_expr_raw_addr(&mut self, address: &'ast syn::ExprRawAddr) {
        self.refuse(Rule::RawPointer, address.and_token.spans[0], "&raw");
        visit::visit_expr_raw_addr(self, address);
    }

    fn visit_expr_array(&mut self, array: &'ast syn::ExprArray) {
        self.tally.enter(Spot::of(array.bracket_token.span.open()), array.elems.len());
        visit::visit_expr_array(self, array);
        self.end_of_table();
    }

    fn visit_expr_tuple(&mut self, tuple: &'ast syn::ExprTuple) {
        self.tally.enter(Spot::of(tuple.paren_token.span.open()), tuple.elems.len());
        visit::visit_expr_tuple(self, tuple);
        self.end_of_table();
    }

    fn visit_lit(&mut self, literal: &'ast syn::Lit) {
        let number = matches!(literal, syn::Lit::Int(_) | syn::Lit::Float(_) | syn::Lit::Byte(_) | syn::Lit::Char(_));
        let bytes = literal.span().byte_range().len();
        if let Some(wrong) = self.tally.add(number, bytes) {
            self.refuse(Rule::EmbeddedData, literal.span(), wrong);
        }
        if matches!(literal, syn::Lit::Verbatim(_)) {
            self.refuse(Rule::UnfamiliarSyntax, literal.span(), "a literal");
        }
    }
}

impl Walk {
    fn end_of_table(&mut self) {
        if let Some((spot, text)) = self.tally.leave() {
            self.found.push(Found { rule: Rule::EmbeddedData, spot, text });
        }
    }
}

/// Where a path begins.
fn beginning(path: &syn::Path) -> Span {
    path.segments.first().map_or_else(Span::call_site, |segment| segment.ident.span())
}

/// Whether an expression mentions something called `seed`.
struct Mention(bool);

impl<'ast> Visit<'ast> for Mention {
    fn visit_ident(&mut self, ident: &'ast syn::Ident) {
        self.0 |= plain(ident) == "seed";
    }
}
