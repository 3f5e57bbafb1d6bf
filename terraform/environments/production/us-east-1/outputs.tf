output "base_url" {
  description = "Twilio's number asks this address and /twilio/inbound."
  value       = module.region.base_url
}

output "repository_url" {
  description = "Where images are pushed to; null where they are copies."
  value       = module.region.repository_url
}

output "deploy_role_arn" {
  description = "AWS_DEPLOY_ROLE of GitHub Actions."
  value       = module.region.deploy_role_arn
}

output "database_arn" {
  description = "database_replica_of of the other region."
  value       = module.region.database_arn
}

output "secret" {
  description = "What scripts/set_secrets.sh fills in."
  value       = module.region.secret
}

output "tasks" {
  description = "How many tasks scripts/failover.sh starts."
  value       = module.region.tasks
}

output "temporal_jobs" {
  description = "What scripts/setup_temporal.sh runs."
  value       = module.region.temporal_jobs
}
