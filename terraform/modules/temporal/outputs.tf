output "environment" {
  description = "Variables of the tasks; empty without Temporal."
  value = {
    cloud = {
      TEMPORAL_ADDRESS   = try(var.cloud.address, "")
      TEMPORAL_NAMESPACE = try(var.cloud.namespace, "")
      TEMPORAL_TLS       = "true"
    }
    self_hosted = {
      TEMPORAL_ADDRESS   = local.address
      TEMPORAL_NAMESPACE = "default"
      TEMPORAL_TLS       = "false"
    }
    none = {}
  }[var.mode]
}

output "self_hosted" {
  description = "Names of the self-hosted server's task definitions, for tests; empty otherwise."
  value       = concat(aws_ecs_task_definition.server[*].family, [for job in aws_ecs_task_definition.job : job.family])
}
