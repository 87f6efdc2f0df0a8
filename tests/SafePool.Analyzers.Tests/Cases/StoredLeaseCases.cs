namespace SafePool.Analyzers.Tests.Cases;

internal static class StoredLeaseCases
{
    public static RuleCases All { get; } = new(
        "SFP0003",
        code => code,
        wrong:
        [
            """public class A(IConnectionPool pool) { private Lease [|_lease|]; public void Open() { _lease = pool.Rent(); } public long Id => _lease.Id; }""",
            """public class A(IConnectionPool pool) { private Lease [|_lease|]; public async Task Open() { _lease = await pool.RentAsync(); } }""",
            """public class A(IConnectionPool pool) { private NpgsqlConnection? [|_connection|]; public void Open() { _connection = pool.OpenConnection(); } }""",
            """public class A(IConnectionPool pool) { public Lease [|Lease|] { get; private set; } public void Open() { Lease = pool.Rent(); } }""",
            """public sealed class A(IConnectionPool pool) : IDisposable { private Lease [|_lease|]; public void Open() { _lease = pool.Rent(); } public void Dispose() { } }""",
            """public class A { private readonly Lease [|_lease|]; public A(IConnectionPool pool) { _lease = pool.Rent(); } public long Id => _lease.Id; }""",
        ],
        right:
        [
            """public sealed class A(IConnectionPool pool) : IDisposable { private Lease _lease; public void Open() { _lease = pool.Rent(); } public void Dispose() => _lease.Dispose(); }""",
            """public sealed class A(IConnectionPool pool) : IAsyncDisposable { private Lease _lease; public async Task Open() { _lease = await pool.RentAsync(); } public ValueTask DisposeAsync() => _lease.DisposeAsync(); }""",
            """public sealed class A(IConnectionPool pool) : IAsyncDisposable { private NpgsqlConnection? _c; public void Open() { _c = pool.OpenConnection(); } public async ValueTask DisposeAsync() { if (_c is not null) { await _c.DisposeAsync(); } } }""",
            """public class A(IConnectionPool pool) { private Lease _lease; public void Start() { _lease = pool.Rent(); } public void Stop() => _lease.Dispose(); }""",
            """public class A(IConnectionPool pool) { public long Id { get; private set; } public void Open() { using var lease = pool.Rent(); Id = lease.Id; } }""",
            """public sealed class A(IConnectionPool pool) : IDisposable { private NpgsqlConnection? _c; public void Open() { _c = pool.OpenConnection(); } public void Dispose() => Interlocked.Exchange(ref _c, null)?.Dispose(); }""",
            """public class A(IConnectionPool pool) { private Lease _lease; public void Open() { _lease = pool.Rent(); } public void Give(List<IDisposable> list) { list.Add(_lease); } }""",
        ]);
}
