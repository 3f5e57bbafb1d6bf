# Who may talk to whom. The load balancer's 443 is the only port that is open to the internet.
#
#   internet ──443──▶ alb ──8000──▶ app ──8000──▶ app: streams of calls that another task has
#                                   app ──▶ database 5432, cache 6379, Temporal 7233, internet 443
#                                   worker ──▶ the same
#                                   temporal (self-hosted only) ──▶ database 5432, internet 443

locals {
  anywhere = "0.0.0.0/0"
  groups = merge(
    {
      alb      = "The load balancer"
      app      = "Tasks that carry calls"
      worker   = "Tasks that run workflows and migrations"
      database = "PostgreSQL"
      cache    = "Valkey"
    },
    var.temporal == "self_hosted" ? { temporal = "The Temporal server" } : {},
  )
  ports = { https = 443, app = 8000, database = 5432, cache = 6379, temporal = 7233 }

  # from group → to group, each opened on both sides
  between = merge(
    {
      "alb-app"         = { from = "alb", to = "app", port = local.ports.app }
      "app-app"         = { from = "app", to = "app", port = local.ports.app }
      "app-database"    = { from = "app", to = "database", port = local.ports.database }
      "worker-database" = { from = "worker", to = "database", port = local.ports.database }
      "app-cache"       = { from = "app", to = "cache", port = local.ports.cache }
      "worker-cache"    = { from = "worker", to = "cache", port = local.ports.cache }
    },
    var.temporal == "self_hosted" ? {
      "app-temporal"      = { from = "app", to = "temporal", port = local.ports.temporal }
      "worker-temporal"   = { from = "worker", to = "temporal", port = local.ports.temporal }
      "temporal-database" = { from = "temporal", to = "database", port = local.ports.database }
    } : {},
  )

  # group → internet: Twilio, Gemini, AWS's own APIs; Temporal Cloud has a port of its own
  outward = merge(
    { for group in ["app", "worker", "temporal"] : "${group}-https" => { from = group, port = local.ports.https } if contains(keys(local.groups), group) },
    var.temporal == "cloud" ? { for group in ["app", "worker"] : "${group}-temporal-cloud" => { from = group, port = local.ports.temporal } } : {},
  )
}

resource "aws_security_group" "this" {
  for_each    = local.groups
  name        = "${var.name}-${each.key}"
  description = each.value
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "${var.name}-${each.key}" }
}

resource "aws_vpc_security_group_ingress_rule" "internet" {
  security_group_id = aws_security_group.this["alb"].id
  description       = "HTTPS and secure WebSockets from Twilio and from API clients"
  cidr_ipv4         = local.anywhere
  ip_protocol       = "tcp"
  from_port         = local.ports.https
  to_port           = local.ports.https
}

resource "aws_vpc_security_group_ingress_rule" "between" {
  for_each                     = local.between
  security_group_id            = aws_security_group.this[each.value.to].id
  referenced_security_group_id = aws_security_group.this[each.value.from].id
  description                  = "From ${each.value.from}"
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "between" {
  for_each                     = local.between
  security_group_id            = aws_security_group.this[each.value.from].id
  referenced_security_group_id = aws_security_group.this[each.value.to].id
  description                  = "To ${each.value.to}"
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "outward" {
  for_each          = local.outward
  security_group_id = aws_security_group.this[each.value.from].id
  description       = "To the internet"
  cidr_ipv4         = local.anywhere
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
}
