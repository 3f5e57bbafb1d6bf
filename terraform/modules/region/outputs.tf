output "base_url" {
  description = "BASE_URL: Twilio's number asks BASE_URL/twilio/inbound."
  value       = module.edge.base_url
}

output "repository_url" {
  description = "Where images are pushed to; null where they are copies."
  value       = one(module.delivery[*].repository_url)
}

output "deploy_role_arn" {
  description = "Role that GitHub Actions takes on; null when there is none."
  value       = one(module.delivery[*].deploy_role_arn)
}

output "database_arn" {
  description = "ARN of the database: database_replica_of of the other region."
  value       = module.data.database_arn
}

output "secret" {
  description = "Name of the secret, and the keys that scripts/set_secrets.sh has to fill in."
  value       = { name = module.secrets.name, keys = sort(local.secret_keys) }
}

output "tasks" {
  description = "How many tasks failover.sh starts."
  value       = { app = var.app.min, worker = var.temporal == "none" ? 0 : var.worker.tasks }
}

output "temporal_jobs" {
  description = "Where scripts/setup_temporal.sh runs the jobs of a self-hosted Temporal."
  value       = { subnets = module.network.task_subnet_ids, groups = module.network.security_group_ids, public_ip = !var.nat_gateway, tasks = module.temporal.self_hosted }
}

output "facts" {
  description = "What tests look at."
  value = {
    ingress    = module.network.ingress
    containers = module.ecs.containers
    platforms  = module.ecs.platforms
    services   = module.ecs.services
    scaling    = module.ecs.scaling
    policies   = module.ecs.policies
    listener   = module.edge.listener
    draining   = module.edge.draining
    database   = module.data.database
    cache      = module.data.cache
    alarms     = module.observability.alarms
    log_days   = module.observability.log_days
    repository = one(module.delivery[*].repository)
    deploy     = one(module.delivery[*].deploy)
  }
}
