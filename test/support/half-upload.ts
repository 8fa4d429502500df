// Begins an upload to the folder in its argument, and waits to be killed.
import { png, uploadsOf } from './uploads.ts'

const uploads = await uploadsOf({ after() {} }, { folder: process.argv[2]! })
const upload = await uploads.begin({}, { name: 'a.png', size: 900_000 })
const { received } = await upload.write(png(500_000))
console.log(received)
setInterval(() => {}, 1000)
