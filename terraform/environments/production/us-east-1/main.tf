# Production, the region that takes calls.

locals {
  name   = "voice-ai-production"
  region = "us-east-1"
}

provider "aws" {
  region = local.region

  default_tags {
    tags = { Project = local.name }
  }
}

module "region" {
  source             = "../../../modules/region"
  name               = local.name
  availability_zones = ["us-east-1a", "us-east-1b"]
  host_name          = var.host_name
  zone_id            = var.zone_id
  image              = var.image
  settings           = var.settings

  app                = var.app
  worker             = var.worker
  database           = var.database
  cache_class        = var.cache_class
  nat_gateway        = var.nat_gateway
  access_logs_bucket = var.access_logs_bucket

  temporal                  = var.temporal
  temporal_cloud            = var.temporal_cloud
  database_password         = var.database_password
  database_password_version = var.database_password_version
  alarm_emails              = var.alarm_emails

  mode                = var.mode
  database_replica_of = var.database_replica_of

  # The pilot light has a copy of the secret and of every image.
  secret_replicas = ["us-west-2"]

  github                 = var.github_repository == null ? null : { repository = var.github_repository, environment = "production" }
  github_provider_exists = var.github_provider_exists
}
