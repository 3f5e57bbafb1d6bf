# One secret in Secrets Manager, a JSON object with a key for each variable. Terraform creates it
# empty, and never reads or writes a value: scripts/set_secrets.sh does, so that no value is in the
# state or in a plan.

resource "aws_secretsmanager_secret" "this" {
  count                   = var.is_copy ? 0 : 1
  name                    = var.name
  description             = "Environment variables of the tasks: a JSON object. Set by terraform/scripts/set_secrets.sh."
  recovery_window_in_days = var.recovery_days

  dynamic "replica" {
    for_each = var.replicate_to
    content {
      region = replica.value
    }
  }
}

data "aws_secretsmanager_secret" "copy" {
  count = var.is_copy ? 1 : 0
  name  = var.name
}

locals {
  arn = var.is_copy ? data.aws_secretsmanager_secret.copy[0].arn : aws_secretsmanager_secret.this[0].arn
}
