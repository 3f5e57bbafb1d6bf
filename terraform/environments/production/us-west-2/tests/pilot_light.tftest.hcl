# What the pilot light promises while it waits, and when it takes calls.

mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { name = "us-west-2" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }
  mock_resource "aws_acm_certificate" {
    defaults = {
      arn = "arn:aws:acm:us-west-2:111122223333:certificate/1"
      domain_validation_options = [{
        domain_name           = "voice-west.example.com"
        resource_record_name  = "_1.voice-west.example.com"
        resource_record_type  = "CNAME"
        resource_record_value = "_2.acm-validations.aws"
      }]
    }
  }
  mock_resource "aws_acm_certificate_validation" {
    defaults = { certificate_arn = "arn:aws:acm:us-west-2:111122223333:certificate/1" }
  }
  mock_resource "aws_lb" {
    defaults = { arn = "arn:aws:elasticloadbalancing:us-west-2:111122223333:loadbalancer/app/voice/1", arn_suffix = "app/voice/1" }
  }
  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:us-west-2:111122223333:targetgroup/voice/1", arn_suffix = "targetgroup/voice/1" }
  }
  mock_resource "aws_lb_listener" {
    defaults = { arn = "arn:aws:elasticloadbalancing:us-west-2:111122223333:listener/app/voice/1/2" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111122223333:role/voice" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:us-west-2:111122223333:alarms" }
  }
  mock_resource "aws_ecs_cluster" {
    defaults = { arn = "arn:aws:ecs:us-west-2:111122223333:cluster/voice-ai-production" }
  }
  mock_data "aws_secretsmanager_secret" {
    defaults = { arn = "arn:aws:secretsmanager:us-west-2:111122223333:secret:voice-ai-production-AbCdEf" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:us-west-2:111122223333:log-group:voice" }
  }
  mock_resource "aws_ecs_task_definition" {
    defaults = { arn = "arn:aws:ecs:us-west-2:111122223333:task-definition/voice:1" }
  }
  mock_data "aws_kms_alias" {
    defaults = { target_key_arn = "arn:aws:kms:us-west-2:111122223333:key/1" }
  }
  mock_resource "aws_service_discovery_service" {
    defaults = { arn = "arn:aws:servicediscovery:us-west-2:111122223333:service/srv-1" }
  }
}

variables {
  host_name           = "voice-west.example.com"
  zone_id             = "Z1"
  image               = "111122223333.dkr.ecr.us-west-2.amazonaws.com/voice-ai-production@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  temporal_cloud      = { address = "voice.a1b2c.tmprl.cloud:7233", namespace = "voice.a1b2c" }
  database_password   = "mocked-password-of-the-test"
  database_replica_of = "arn:aws:rds:us-east-1:111122223333:db:voice-ai-production"
  settings = {
    TWILIO_ACCOUNT_SID   = "AC00000000000000000000000000000000"
    TWILIO_PHONE_NUMBER  = "+15550100999"
    ALLOWED_DESTINATIONS = "+1"
  }
}

run "it_waits" {
  assert {
    condition     = alltrue([for name, service in module.region.facts.services : service.tasks == 0])
    error_message = "No task runs while it waits."
  }
  assert {
    condition     = module.region.facts.scaling == null
    error_message = "Autoscaling does not start tasks by itself."
  }
  assert {
    condition     = module.region.facts.database == { public = false, encrypted = true, deletable = false, backup_days = 7, forces_tls = true, replica = true }
    error_message = "The database follows the other region's, as well protected."
  }
  assert {
    condition     = module.region.facts.cache == null
    error_message = "What is live is not copied: there is no cache while it waits."
  }
  assert {
    condition     = module.region.facts.listener.port == 443 && output.base_url == "https://voice-west.example.com"
    error_message = "The load balancer and its name are there: Route 53 cannot be changed while us-east-1 is away."
  }
  assert {
    condition     = contains(keys(module.region.facts.alarms), "replica-late") && !contains(keys(module.region.facts.alarms), "no-healthy-task")
    error_message = "It tells when the copy is late, and not that no task runs."
  }
  assert {
    condition     = output.repository_url == null && alltrue([for it in module.region.facts.containers.app.secrets : startswith(it.valueFrom, "arn:aws:secretsmanager:us-west-2:")])
    error_message = "Images and secrets are this region's copies."
  }
  assert {
    condition     = output.tasks == { app = 2, worker = 2 }
    error_message = "failover.sh reads how many tasks to start."
  }
}

run "it_takes_calls" {
  state_key = "active"

  variables {
    mode = "active"
  }

  assert {
    condition     = module.region.facts.services.app.tasks == 2 && module.region.facts.services.worker.tasks == 2
    error_message = "Tasks run."
  }
  assert {
    condition     = !module.region.facts.database.replica && module.region.facts.cache != null && module.region.facts.scaling.min == 2
    error_message = "The database takes writes, the cache is there, and tasks scale."
  }
  assert {
    condition     = [for rule in module.region.facts.ingress : rule.port if can(cidrhost(rule.from, 0))] == [443]
    error_message = "Nothing is open but 443."
  }
}
