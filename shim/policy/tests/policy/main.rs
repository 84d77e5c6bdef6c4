//! The policy through its public surface: tables of what each rule passes, changes and refuses, and properties
//! over generated specifications.

#[cfg(test)]
mod controls;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod effective;
#[cfg(test)]
mod exec;
#[cfg(test)]
mod exempt;
#[cfg(test)]
mod fields;
#[cfg(test)]
mod generator;
#[cfg(test)]
mod handed_on;
#[cfg(test)]
mod images;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod modes;
#[cfg(test)]
mod mounts;
#[cfg(test)]
mod offline;
#[cfg(test)]
mod process;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod pss;
#[cfg(test)]
mod rule_pages;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod select;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod update;
#[cfg(test)]
mod values;
