namespace SafePool.LoadTests.Contenders;

/// <summary>A pool under load.</summary>
internal interface IContender : IAsyncDisposable
{
    ValueTask<Rented> RentAsync();
}
