// Sees to it that the tests of pages find a browser; run with tsx, once before all tests.
import { provideChromium } from '../test/support/chromium-binary.ts'

provideChromium()
