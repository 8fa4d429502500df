// What filters share: small facilities with bounds, for built-in filters and for yours. Import it as `filtered-websocket/kit`.

export { optionError } from './option-error.ts'
export { readRegular } from './regular-file.ts'
