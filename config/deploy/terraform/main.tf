# One host with the stack of compose.yaml, made ready by cloud-init. Only the miners' ports are open
# to the world; the dashboard is looked at through SSH: ssh -L 8080:127.0.0.1:8080 root@HOST.

locals {
  settings = merge(
    { CHAIN = var.chain, COMPOSE_PROFILES = join(",", var.profiles) },
    var.payout_address == "" ? {} : { PAYOUT_ADDRESS = var.payout_address },
    var.environment,
  )
}

resource "hcloud_firewall" "this" {
  name = var.name

  rule {
    description = "SSH, for the operator"
    direction   = "in"
    protocol    = "tcp"
    port        = "22"
    source_ips  = var.operator_networks
  }

  dynamic "rule" {
    for_each = { "Stratum V2" = "34254", "Stratum V1" = "3333" }

    content {
      description = rule.key
      direction   = "in"
      protocol    = "tcp"
      port        = rule.value
      source_ips  = ["0.0.0.0/0", "::/0"]
    }
  }
}

resource "hcloud_server" "this" {
  name         = var.name
  server_type  = var.server_type
  location     = var.location
  image        = "debian-13"
  ssh_keys     = var.ssh_keys
  firewall_ids = [hcloud_firewall.this.id]

  user_data = templatefile("${path.module}/cloud-init.yaml.tftpl", {
    repository = var.repository
    revision   = var.revision
    settings   = local.settings
  })

  lifecycle {
    # Another user_data would be another host, without the chain and without the ledger: settings of
    # a host that is there are changed on it.
    ignore_changes = [user_data, image, ssh_keys]

    precondition {
      condition     = var.chain == "regtest" || var.payout_address != ""
      error_message = "Set payout_address: on any chain but regtest blocks are worth something."
    }
  }
}
