// Sees to it that the tests of storage "redis" find a server; run with tsx, once before all tests.
import { provideRedis } from '../test/support/redis-binary.ts'

provideRedis()
