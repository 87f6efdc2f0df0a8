using System.IO.Compression;
using System.Xml.Linq;

namespace SafePool.PackageTests;

/// <summary>What is in a package.</summary>
internal sealed class Package(string file) : IDisposable
{
    private readonly ZipArchive _zip = ZipFile.OpenRead(file);

    public IReadOnlyList<string> Files => [.. _zip.Entries.Select(entry => entry.FullName)];

    public byte[] Read(string name)
    {
        using var content = (_zip.GetEntry(name) ?? throw new FileNotFoundException($"{file} has no {name}, but {string.Join(", ", Files)}.")).Open();
        using var memory = new MemoryStream();
        content.CopyTo(memory);
        return memory.ToArray();
    }

    /// <summary>The metadata of the nuspec.</summary>
    public XElement Metadata()
    {
        using var memory = new MemoryStream(Read(Files.Single(name => name.EndsWith(".nuspec", StringComparison.Ordinal))));
        var metadata = XDocument.Load(memory).Root!.Elements().Single();
        foreach (var element in metadata.DescendantsAndSelf())
        {
            element.Name = element.Name.LocalName;
        }

        return metadata;
    }

    public void Dispose() => _zip.Dispose();
}
