output "cluster_name" {
  description = "Name of the cluster."
  value       = aws_ecs_cluster.this.name
}

output "cluster_arn" {
  description = "ARN of the cluster."
  value       = aws_ecs_cluster.this.arn
}

output "execution_role_arn" {
  description = "Role that ECS starts tasks with."
  value       = aws_iam_role.execution.arn
}

output "role_arns" {
  description = "Roles that a deploy passes to ECS."
  value       = concat([aws_iam_role.execution.arn], [for role in aws_iam_role.task : role.arn])
}

output "containers" {
  description = "The container of each kind of task, as ECS gets it, for tests."
  value       = { for kind, task in aws_ecs_task_definition.this : kind => jsondecode(task.container_definitions)[0] }
}

output "platforms" {
  description = "Size and processor of each kind of task, for tests."
  value       = { for kind, task in aws_ecs_task_definition.this : kind => { cpu = tonumber(task.cpu), memory = tonumber(task.memory), processor = task.runtime_platform[0].cpu_architecture } }
}

output "services" {
  description = "What the services ask for, for tests."
  value = {
    for service in [aws_ecs_service.app, aws_ecs_service.worker] : service.name => {
      tasks         = service.desired_count
      on            = one(service.capacity_provider_strategy).capacity_provider
      public_ip     = service.network_configuration[0].assign_public_ip
      rolls_back    = service.deployment_circuit_breaker[0].rollback
      min_healthy   = service.deployment_minimum_healthy_percent
      shell         = service.enable_execute_command
      load_balanced = length(service.load_balancer) > 0
    }
  }
}

output "scaling" {
  description = "What autoscaling follows, for tests; null when no tasks run."
  value = var.active ? {
    min       = aws_appautoscaling_target.app[0].min_capacity
    max       = aws_appautoscaling_target.app[0].max_capacity
    target    = aws_appautoscaling_policy.live_calls[0].target_tracking_scaling_policy_configuration[0].target_value
    metric    = aws_appautoscaling_policy.live_calls[0].target_tracking_scaling_policy_configuration[0].customized_metric_specification[0].metric_name
    namespace = aws_appautoscaling_policy.live_calls[0].target_tracking_scaling_policy_configuration[0].customized_metric_specification[0].namespace
    statistic = aws_appautoscaling_policy.live_calls[0].target_tracking_scaling_policy_configuration[0].customized_metric_specification[0].statistic
  } : null
}

output "policies" {
  description = "Policies of the roles, for tests."
  value = {
    execution = jsondecode(aws_iam_role_policy.execution.policy)
    app       = jsondecode(aws_iam_role_policy.protect_task.policy)
  }
}
