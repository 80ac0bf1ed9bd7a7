# What there is to set. Those of the stack are .env.example's, which explains each.

variable "name" {
  description = "Name of the host, and of what belongs to it."
  type        = string
  default     = "adit"
}

variable "server_type" {
  description = "Size of the host. A full node on mainnet wants 4 GB of memory and 30 GB of disk when pruned."
  type        = string
  default     = "cx32"
}

variable "location" {
  description = "Where it stands: near the miners."
  type        = string
  default     = "nbg1"
}

variable "ssh_keys" {
  description = "Names or ids of keys at the provider that may log in as root."
  type        = list(string)

  validation {
    condition     = length(var.ssh_keys) > 0
    error_message = "Name at least one key: without it the provider mails a password."
  }
}

variable "operator_networks" {
  description = "Networks from which SSH is allowed, as CIDR."
  type        = list(string)

  validation {
    condition     = length(var.operator_networks) > 0
    error_message = "Name your own networks: otherwise nobody can log in."
  }
}

variable "repository" {
  description = "Where the sources are, a URL for git."
  type        = string
}

variable "revision" {
  description = "Which of them: a tag, a branch or a commit."
  type        = string
  default     = "main"
}

variable "chain" {
  description = "mainnet, testnet4 or regtest."
  type        = string
  default     = "regtest"

  validation {
    condition     = contains(["mainnet", "testnet4", "regtest"], var.chain)
    error_message = "The chain is mainnet, testnet4 or regtest."
  }
}

variable "payout_address" {
  description = "Where blocks pay to: an address of yours on that chain. Only regtest goes without."
  type        = string
  default     = ""
}

variable "profiles" {
  description = "Profiles of compose.yaml: bitcoin, drivechain or, on regtest, demo; monitoring beside them."
  type        = list(string)
  default     = ["bitcoin", "monitoring"]
}

variable "environment" {
  description = "Any other variable of .env.example."
  type        = map(string)
  default     = {}
}
