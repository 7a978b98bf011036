<?php
// SPDX-License-Identifier: MIT
declare(strict_types=1);

/**
 * Asks a Headcount server whether this install has a good license; without an answer, the last one goes on.
 *
 *   $license = new HeadcountLicense('https://count.example.com', ROOT_KEY, 'acme', $key, '/var/lib/acme', '2.4.1');
 *   if ($license->status()->allowed) { … } // ROOT_KEY stands in your code, never in a file made to be edited
 */
final class HeadcountLicense {
    private const SECONDS = 2, MAX_BODY = 65536, MINUTE = 60, HOUR = 3600, TOLERANCE = 300;
    private const URLSAFE = SODIUM_BASE64_VARIANT_URLSAFE_NO_PADDING;
    private const GOOD = ['active', 'grace'];
    private const NO = ['expired', 'suspended', 'revoked', 'over_seats', 'unknown', 'wrong_product'];
    private const NUMBERS = ['sequence', 'keys_sequence', 'seen', 'offset', 'asked', 'next', 'interval', 'failures'];
    private const UNVERIFIED = ['status' => 'unverified', 'conclusive' => false, 'plan' => null, 'entitlements' => [],
        'seats' => null, 'update' => null, 'expires_at' => null];

    private $install, $system, $us, $cache, $kept;
    private array $says = []; // the payload of the answer that is kept

    public function __construct(private string $url, private string $rootKey, string $product, ?string $key,
        private string $folder, string $version, string $environment = 'production', string $channel = 'stable') {
        $plain = strtr(strtoupper(preg_replace('/[-\s]/', '', $key ?? '')), 'OIL', '011');
        $instance = $this->instance() ?? substr(hash_hmac('sha256', $folder, $plain), 0, 32); // the same next time
        $this->install = ['key' => $plain, 'product' => $product, 'instance' => $instance];
        $this->system = ['version' => $version, 'environment' => $environment, 'channel' => $channel,
            'os' => strtolower(PHP_OS_FAMILY), 'arch' => php_uname('m')];
        $this->us = ['product' => $product, 'key_digest' => hash('sha256', $plain),
            'instance_digest' => hash_hmac('sha256', $instance, $plain)];
        $this->cache = 'headcount-license-' . substr($this->us['key_digest'], 0, 8) . '.json'; // by key
        $this->kept = ['answer' => null, 'keys' => null, 'problem' => $plain ? 'no answer yet' : 'no license key']
            + array_fill_keys(self::NUMBERS, 0);
        $this->load();
    }

    /** What is known. If it is time, it asks, for 2 seconds at most, unless another request is just asking. */
    public function status(bool $ask = false): object {
        try {
            $due = $this->install['key'] !== '' && ($ask || $this->due());
            if ($due) $this->askAlone($ask);
            if (!$due && $this->now() > $this->kept['seen'] + self::MINUTE) $this->save(['seen' => $this->now()]);
        } catch (Throwable $error) {
            $this->save(['problem' => preg_replace('/[^ -z|~]|["[\]]/', '', $error->getMessage())]);
        }
        return $this->judge();
    }

    public function check(): object { return $this->status(ask: true); } // now, due or not; 2 seconds at most

    /** Give the seat back when the software is uninstalled. False: the server did not confirm it. */
    public function release(): bool {
        try {
            $this->post('/api/license/release', $this->install, hrtime(true) + self::SECONDS * 1e9);
            $this->says = [];
            $this->save(['answer' => null, 'next' => 0, 'problem' => 'the seat was given back']);
            return true;
        } catch (Throwable) {
            return false;
        }
    }

    private function now(): int { return time() + $this->kept['offset']; } // the server's time, as far as is known
    private function due(): bool {
        $last = $this->kept[$this->kept['failures'] ? 'asked' : 'seen'];
        return $this->now() >= $this->kept['next'] || $this->now() < $last - self::TOLERANCE;
    }

    private function judge(): object {
        [$now, $says, $why] = [$this->now(), $this->says, $this->kept['problem']];
        $floor = max($this->kept['seen'], $says['server_time'] ?? 0) - self::TOLERANCE;
        return match (true) {
            !in_array($says['status'] ?? '', self::GOOD, true) => self::result($says, $why), // a no holds
            $now < $floor => self::result([], 'the clock was set back'),
            $now <= $says['valid_until'] => self::result($says, $why),
            $now <= $says['grace_until'] => self::result(['status' => 'grace', 'conclusive' => false] + $says, $why),
            default => self::result([], $why ?? 'the last answer is too old'),
        };
    }

    private static function result(array $says, mixed $why): object {
        $found = array_intersect_key($says, self::UNVERIFIED) + self::UNVERIFIED;
        return (object) ($found + ['allowed' => in_array($found['status'], self::GOOD, true), 'problem' => $why]);
    }

    private function askAlone(bool $ask): void {
        $lock = @fopen("$this->folder/headcount-license.lock", 'c');
        if (!$lock) $this->kept['problem'] = "$this->folder cannot be written";
        $alone = $lock ? flock($lock, LOCK_EX | LOCK_NB) : $ask; // where nothing can be kept, only check() asks
        $this->load(); // another request may have asked
        if (!$alone || !($ask || $this->due())) return;
        $most = min($this->kept['interval'] ?: self::HOUR, self::MINUTE * 2 ** min($this->kept['failures'], 20));
        $this->save(['failures' => $this->kept['failures'] + 1, 'asked' => $this->now(),
            'next' => $this->now() + random_int(5, max(60, (int) $most))]); // it has failed until it succeeds
        $this->ask(hrtime(true) + self::SECONDS * 1e9);
    }

    private function ask(float $end): void {
        $question = $this->install + $this->system + ['nonce' => bin2hex(random_bytes(24))];
        $more = array_filter(['token' => $this->says['token'] ?? null, 'keys' => true]);
        $given = $this->post('/api/license/check', $question + $more, $end);
        $keySet = $given['keys'] ?? $this->kept['keys']; // a new set each time: keys come, end, and are stolen
        $says = $this->read($given['answer'] ?? '', $keySet ?? '');
        self::need($says && $says['nonce'] === $question['nonce'], 'the answer is to another question, or of nobody');
        self::need($says['conclusive'] || in_array($says['status'], self::GOOD, true), 'the answer is but a guess');
        [$now, $interval] = [$says['server_time'], max(self::MINUTE, $says['check_after'] - $says['server_time'])];
        $this->says = $says;
        $this->save(['answer' => $given['answer'], 'keys' => $keySet, 'keys_sequence' => $says['keys_sequence'],
            'sequence' => max($says['sequence'], $this->kept['sequence']), 'offset' => $now - time(), 'seen' => $now,
            'asked' => $now, 'next' => $now + intdiv($interval * random_int(90, 110), 100), 'interval' => $interval,
            'failures' => 0, 'problem' => null]);
    }

    private function post(string $path, array $body, float $end): array {
        [$curl, $text] = [curl_init($this->url . $path), ''];
        curl_setopt_array($curl, [ // which follows no redirect
            CURLOPT_POSTFIELDS => json_encode($body, JSON_THROW_ON_ERROR),
            CURLOPT_HTTPHEADER => ['Content-Type: application/json', 'User-Agent: headcount-license'],
            CURLOPT_PROTOCOLS => CURLPROTO_HTTP | CURLPROTO_HTTPS,
            CURLOPT_TIMEOUT_MS => max(1, (int) (($end - hrtime(true)) / 1e6)),
            CURLOPT_WRITEFUNCTION => function ($curl, $part) use (&$text) {
                return strlen($text .= $part) > self::MAX_BODY ? -1 : strlen($part);
            },
        ]);
        self::need(curl_exec($curl), curl_error($curl));
        $code = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
        self::need($code === 200, "the server answered $code: " . substr($text, 0, 300));
        return json_decode($text, true, 32, JSON_THROW_ON_ERROR);
    }

    /** What an answer says: if a certified key has signed it, about us, and it is no older than what is known. */
    private function read(string $answer, string $keySet): ?array {
        $root = ['kid' => 'root', 'use' => 'keys', 'x' => $this->rootKey, 'not_before' => 0, 'not_after' => 0];
        $set = self::signed($keySet, 'keys', [$root]);
        $says = self::signed($answer, 'check', $set['keys'] ?? []);
        if (!$set || !$says) return null;
        $about = array_intersect_key($says, $this->us) == $this->us && $set['product'] === $says['product'];
        self::need($about && in_array($says['status'], [...self::GOOD, ...self::NO], true), 'it is about others');
        $sequence = $this->kept['sequence'] - self::TOLERANCE * 1_000_000;
        $new = $says['sequence'] >= $sequence && $set['sequence'] >= $this->kept['keys_sequence'];
        self::need($new, 'the answer, or its key set, is older than what is known');
        return $says + ['keys_sequence' => $set['sequence']];
    }

    /** What is signed, if one of these keys has signed just these bytes for this use. Null: there is no such key. */
    private static function signed(string $jws, string $use, array $keys): ?array {
        self::need(substr_count($jws, '.') === 2, 'the answer, or its key set, is not signed');
        [$head, $body, $signature] = explode('.', $jws);
        $header = (array) json_decode(self::bytes($head), true) + ['alg' => '', 'typ' => '', 'kid' => ''];
        $said = [$header['alg'], $header['typ'], isset($header['crit'])];
        self::need($said === ['Ed25519', "headcount-$use+jws", false], 'the header is not one of Headcount\'s');
        $key = array_column($keys, null, 'kid')[$header['kid']] ?? null;
        if (!$key) return null;
        $good = sodium_crypto_sign_verify_detached(self::bytes($signature), "$head.$body", self::bytes($key['x']));
        self::need($good, 'the signature does not fit');
        $payload = json_decode(self::bytes($body), true, 32, JSON_THROW_ON_ERROR);
        $at = $payload['server_time'] ?? 0;
        $timely = $at >= $key['not_before'] - self::TOLERANCE && $at <= $key['not_after'];
        self::need($key['use'] === $use && $timely, 'the key that signed it is for another use or time');
        return $payload;
    }

    private static function bytes(string $text): string { return sodium_base642bin($text, self::URLSAFE); }
    private static function need(mixed $fine, string $why): void { $fine || throw new RuntimeException($why); }

    /** Take what is in the cache, unless it is garbage, forged, or behind what is known. */
    private function load(): void {
        try {
            $kept = json_decode((string) @file_get_contents("$this->folder/$this->cache"), true) ?? [];
            $whole = count(array_filter(array_intersect_key($kept, array_flip(self::NUMBERS)), is_int(...))) === 8;
            if (!$whole || $kept['asked'] < $this->kept['asked']) return;
            $this->says = isset($kept['answer']) ? $this->read($kept['answer'], $kept['keys']) : [];
            $this->kept = $kept + $this->kept;
        } catch (Throwable) {
        } // then it goes on with what it has
    }

    private function save(array $changes): void {
        $this->kept = $changes + $this->kept;
        $text = (string) json_encode($this->kept, JSON_INVALID_UTF8_SUBSTITUTE);
        $this->write($this->cache, $text, 'rename') || $this->kept['problem'] ??= 'nothing can be kept';
    }

    private function instance(): ?string {
        $file = "$this->folder/headcount-instance";
        is_dir($this->folder) || @mkdir($this->folder, 0700, true);
        is_file($file) || $this->write('headcount-instance', bin2hex(random_bytes(16)), 'link'); // the first wins
        return preg_match('/^[0-9a-f]{32}$/', trim((string) @file_get_contents($file)), $found) ? $found[0] : null;
    }

    private function write(string $name, string $text, callable $place): bool { // whole or not at all, mode 0600
        $part = is_writable($this->folder) ? @tempnam($this->folder, '.headcount') : false;
        $done = $part && @file_put_contents($part, $text) === strlen($text) && @$place($part, "$this->folder/$name");
        if ($part) @unlink($part);
        return $done;
    }
}
