output "name" {
  description = "Name of the secret."
  value       = var.is_copy ? data.aws_secretsmanager_secret.copy[0].name : aws_secretsmanager_secret.this[0].name
}

output "arn" {
  description = "ARN of the secret."
  value       = local.arn
}

output "value_from" {
  description = "For each key, what a task definition's valueFrom says: the secret and the key in it, never the value."
  value       = { for key in var.keys : key => "${local.arn}:${key}::" }
}
